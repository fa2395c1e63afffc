"""Methods that set weights to zero or store them in fewer bits."""

from __future__ import annotations

from prunebench import Method

METHODS: list[type[Method]] = []
