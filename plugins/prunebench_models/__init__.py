"""The models that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Model, hookimpl

from prunebench_models import convolutional, fully_connected, language, perceptron, vision


@hookimpl
def models() -> list[type[Model]]:
    """Fully connected chains, a perceptron for tables, small convolutional networks, torchvision's classifiers."""
    return [*fully_connected.MODELS, *convolutional.MODELS, *perceptron.MODELS, *vision.MODELS, *language.MODELS]
