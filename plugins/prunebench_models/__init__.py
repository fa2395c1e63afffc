"""The models that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Dataset, Model, hookimpl

from prunebench_models import (
    convolutional,
    detectors,
    fully_connected,
    imported,
    language,
    outside,
    perceptron,
    photographs,
    small_images,
    vision,
)

FAMILIES = (fully_connected, convolutional, detectors, perceptron, small_images, vision, language, outside, imported)


@hookimpl
def models() -> list[type[Model]]:
    """Chains, a perceptron, classifiers of small and large images, a detector, language models, your own."""
    return [model for family in FAMILIES for model in family.MODELS]


@hookimpl
def datasets() -> list[type[Dataset]]:
    """Photographs as a network of this package sees them."""
    return photographs.DATASETS
