"""The models that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Dataset, Model, hookimpl

from prunebench_models import convolutional, fully_connected, outside, photographs, small_images, vision


@hookimpl
def models() -> list[type[Model]]:
    """Fully connected chains, small convolutional networks, networks for 32×32 images, torchvision's classifiers."""
    return [*fully_connected.MODELS, *convolutional.MODELS, *small_images.MODELS, *vision.MODELS, *outside.MODELS]


@hookimpl
def datasets() -> list[type[Dataset]]:
    """Photographs as a network of this package sees them."""
    return photographs.DATASETS
