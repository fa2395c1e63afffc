"""Torchvision's classifiers."""

from __future__ import annotations

from prunebench import Model

MODELS: list[type[Model]] = []
