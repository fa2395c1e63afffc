"""The models that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Model, hookimpl

from prunebench_models import convolutional, fully_connected, vision


@hookimpl
def models() -> list[type[Model]]:
    """Fully connected chains, small convolutional networks, torchvision's classifiers."""
    return [*fully_connected.MODELS, *convolutional.MODELS, *vision.MODELS]
