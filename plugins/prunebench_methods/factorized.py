"""Methods that replace a layer by products of smaller ones, and the dense control."""

from __future__ import annotations

from prunebench import Method

METHODS: list[type[Method]] = []
