"""Torchvision's classifiers, with its trained weights or with fresh ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from prunebench import Model, param

if TYPE_CHECKING:
    from torch import nn

UNTRAINED = "untrained"
WEIGHTS = "weights of torchvision by name; empty: fresh and trained here; 'untrained': fresh and left so, for timing"
SIZE = "height and width of the input"


class _Square:
    """`input_shape` as the instance's `image_size` says; of the class, the usual 224×224."""

    def __get__(self, model: Any, owner: type) -> tuple[int, int, int]:
        side = 224 if model is None else model.image_size
        return (3, side, side)


@dataclass(frozen=True)
class _Vision(Model):
    """A network of torchvision, colour in; its own weights come with their own 1,000 classes."""

    input_shape = _Square()
    arch: ClassVar[str]
    weights: str = param("", WEIGHTS)
    image_size: int = param(224, SIZE, at_least=32, unit="pixels")

    @property
    def pretrained(self) -> bool:
        """True as well for 'untrained': in both cases nothing is trained here."""
        return self.weights != ""

    def check(self) -> None:
        if self.weights not in ("", UNTRAINED):
            from prunebench_models.pretrained import check_weights

            check_weights(self.arch, self.weights)

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.pretrained import fresh, trained

        if self.weights in ("", UNTRAINED):
            return fresh(self.arch, class_count)
        return trained(self.arch, self.weights, class_count)


@dataclass(frozen=True)
class AlexNet(_Vision):
    """AlexNet as torchvision has it (Krizhevsky, 2014): 61,100,840 parameters at 1,000 classes."""

    name = "alexnet"
    arch = "alexnet"
    paper = "https://arxiv.org/abs/1404.5997"


@dataclass(frozen=True)
class ResNet50(_Vision):
    """ResNet-50 (He et al., 2015): 25,557,032 parameters at 1,000 classes."""

    name = "resnet50"
    arch = "resnet50"
    paper = "https://arxiv.org/abs/1512.03385"


@dataclass(frozen=True)
class DenseNet121(_Vision):
    """DenseNet-121 (Huang et al., 2016): 7,978,856 parameters at 1,000 classes."""

    name = "densenet121"
    arch = "densenet121"
    paper = "https://arxiv.org/abs/1608.06993"


@dataclass(frozen=True)
class Torchvision(_Vision):
    """Any classifier of torchvision by its name there."""

    name = "torchvision"
    arch: str = param("resnet18", "the builder's name in torchvision.models")  # type: ignore[misc]

    def check(self) -> None:
        from prunebench_models.pretrained import check_arch

        check_arch(self.arch)
        super().check()


MODELS: list[type[Model]] = [AlexNet, ResNet50, DenseNet121, Torchvision]
