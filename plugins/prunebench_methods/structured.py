"""Tensor decompositions of convolutions, and methods that remove channels."""

from __future__ import annotations

from prunebench import Method

METHODS: list[type[Method]] = []
