"""Architectures for 32×32 colour images, as the pruning literature uses them on CIFAR and SVHN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Model, param

if TYPE_CHECKING:
    from prunebench import Anatomy
    from torch import nn


@dataclass(frozen=True)
class CifarResNet(Model):
    """ResNet-20, 32, 44, 56 and 110 for CIFAR-10 (He et al., 2015, section 4.2).

    They have 0.27, 0.46, 0.66, 0.85 and 1.73 M parameters, and 41, 69, 97, 125 and 253 M multiply-accumulates.
    Shortcuts have no parameters where the size changes (option A): every other pixel, new channels padded with zeros.
    """

    name = "cifar_resnet"
    paper = "https://arxiv.org/abs/1512.03385"
    input_shape = (3, 32, 32)
    depth: int = param(20, "layers with weights: 6 times the blocks of a stage, and two", choices=(20, 32, 44, 56, 110))

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.small_image_layers import cifar_resnet

        return cifar_resnet(class_count, (self.depth - 2) // 6)


@dataclass(frozen=True)
class CifarVgg16(Model):
    """VGG-16 with batch norm for 32×32: 13 convolutions and one linear layer; 14.7 M parameters at 10 classes.

    The two hidden linear layers of the original are left out, as in pruning papers since Li et al. (2017).
    """

    name = "cifar_vgg16_bn"
    paper = "https://arxiv.org/abs/1409.1556"
    input_shape = (3, 32, 32)

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.small_image_layers import cifar_vgg16

        return cifar_vgg16(class_count)


@dataclass(frozen=True)
class WideResNet(Model):
    """Wide residual networks (Zagoruyko and Komodakis, 2016): WRN-28-10 has 36.5 M parameters at 10 classes."""

    name = "wide_resnet"
    paper = "https://arxiv.org/abs/1605.07146"
    input_shape = (3, 32, 32)
    depth: int = param(28, "layers with weights: 6 times the blocks of a stage, and four", at_least=10)
    widen: int = param(10, "times as wide as 16, 32 and 64 channels", at_least=1)

    def check(self) -> None:
        if (self.depth - 4) % 6:
            raise ValueError(f"depth must be 4 more than a multiple of 6, got {self.depth}: use 16, 22, 28 or 40")

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.small_image_layers import wide_resnet

        return wide_resnet(class_count, (self.depth - 4) // 6, self.widen)


@dataclass(frozen=True)
class CifarMobileNetV2(Model):
    """MobileNetV2 (Sandler et al., 2018) for 32×32: two reductions of size are left out; 2.24 M parameters."""

    name = "cifar_mobilenet_v2"
    paper = "https://arxiv.org/abs/1801.04381"
    input_shape = (3, 32, 32)
    width: float = param(1.0, "channels, as a multiple of the published ones", above=0)

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.small_image_layers import cifar_mobilenet_v2

        return cifar_mobilenet_v2(class_count, self.width)


@dataclass(frozen=True)
class SmallVit(Model):
    """A small vision transformer (Dosovitskiy et al., 2020) with query, key and value as linear layers of their own.

    Pre-norm blocks, a class token, learnt positions. The default has 2.7 M parameters on 32×32.
    """

    name = "small_vit"
    paper = "https://arxiv.org/abs/2010.11929"
    patch: int = param(4, "height and width of a patch", at_least=1, unit="pixels")
    width: int = param(192, "numbers that stand for a patch", at_least=1)
    depth: int = param(6, "blocks", at_least=1)
    heads: int = param(3, "attention heads; they share out the width", at_least=1)
    mlp_ratio: float = param(4.0, "hidden units of a block, as a multiple of the width", above=0)
    image_size: int = param(32, "height and width of the input", at_least=1, unit="pixels")
    channels: int = param(3, "colour channels of the input", choices=(1, 3))

    @property
    def input_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """(C, H, W), as the fields say."""
        return (self.channels, self.image_size, self.image_size)

    def check(self) -> None:
        if self.image_size % self.patch:
            raise ValueError(f"patches of {self.patch} pixels do not tile images of {self.image_size}")
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads cannot share a width of {self.width}: choose a divisor")

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.small_vit_layers import VisionTransformer

        side = self.image_size // self.patch
        hidden = round(self.width * self.mlp_ratio)
        return VisionTransformer(
            class_count, self.channels, self.patch, side * side, self.width, self.depth, self.heads, hidden
        )

    def anatomy(self, network: nn.Module) -> Anatomy | None:
        from prunebench_models.small_vit_layers import anatomy_of

        return anatomy_of(network)


MODELS: list[type[Model]] = [CifarResNet, CifarVgg16, WideResNet, CifarMobileNetV2, SmallVit]
