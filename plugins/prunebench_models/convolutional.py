"""Small convolutional networks that train in seconds to minutes on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Model, param

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LeNet5(Model):
    """The LeNet of Rohlicek (2020): 6 and 16 channels, 576-120-84-classes; 82,554 parameters at 26 classes."""

    name = "lenet5"
    input_shape = (1, 32, 32)

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.chains import lenet

        return lenet(class_count)


@dataclass(frozen=True)
class SmallCnn(Model):
    """Four 3×3 convolutions and two linear layers on 28×28: wide enough that factorizing a convolution can pay."""

    name = "small_cnn"
    input_shape = (1, 28, 28)
    width: int = param(32, "channels of the first two convolutions; the last two have twice as many", at_least=1)
    batch_norm: bool = param(False, "batch normalisation between each convolution and its ReLU")

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.chains import small_cnn

        return small_cnn(class_count, self.width, self.batch_norm)


@dataclass(frozen=True)
class SmallResNet(Model):
    """The residual network for small pictures of He et al. (2015), 28×28: 6·`blocks` + 2 layers.

    Batch norm behind each convolution. Departs from the paper in strided 1×1 convolutions where it pads with zeros, and
    in being twice as wide.
    """

    name = "small_resnet"
    paper = "https://arxiv.org/abs/1512.03385"
    input_shape = (1, 28, 28)
    width: int = param(
        32, "channels of the first stage; the second has twice, the third four times as many", at_least=1
    )
    blocks: int = param(1, "residual blocks of each of the three stages", at_least=1)

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.residual import small_resnet

        return small_resnet(class_count, self.width, self.blocks)


MODELS: list[type[Model]] = [LeNet5, SmallCnn, SmallResNet]
