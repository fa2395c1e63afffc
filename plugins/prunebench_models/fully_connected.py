"""The two fully connected networks of Ravan and Ebanks (2024), with activations and as their twins without.

The published experiments ran on stacks of linear layers without any activation, which are one linear map whatever their
depth. The twins reproduce those; the ReLU networks are what a reader of the paper expects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Model

if TYPE_CHECKING:
    from torch import nn

SIMPLE_WIDTHS = (120, 84)
LARGE_WIDTHS = (128, 512, 2048, 8192, 2048, 512, 128)


@dataclass(frozen=True)
class _Chain(Model):
    """Flatten, then linear layers `fc1`, `fc2`, …, the last one as wide as there are classes."""

    input_shape = (1, 28, 28)
    hidden_widths: ClassVar[tuple[int, ...]]
    activation: ClassVar[bool] = True

    def build(self, class_count: int) -> nn.Module:
        from prunebench_models.chains import linear_chain

        channels, height, width = self.input_shape
        return linear_chain((channels * height * width, *self.hidden_widths, class_count), self.activation)


@dataclass(frozen=True)
class SimpleFcn(_Chain):
    """784-120-84-classes with ReLU: 105,214 parameters at ten classes."""

    name = "simple_fcn"
    hidden_widths = SIMPLE_WIDTHS


@dataclass(frozen=True)
class LargeFcn(_Chain):
    """784-128-512-2048-8192-2048-512-128-classes with ReLU: 35,897,866 parameters at ten classes."""

    name = "large_fcn"
    hidden_widths = LARGE_WIDTHS


@dataclass(frozen=True)
class SimpleLinearFcn(_Chain):
    """784-120-84-classes without activations: what the published Simple FCN computes."""

    name = "simple_linear_fcn"
    hidden_widths = SIMPLE_WIDTHS
    activation = False


@dataclass(frozen=True)
class LargeLinearFcn(_Chain):
    """784-128-512-2048-8192-2048-512-128-classes without activations: what the published Large FCN computes."""

    name = "large_linear_fcn"
    hidden_widths = LARGE_WIDTHS
    activation = False


MODELS: list[type[Model]] = [SimpleFcn, LargeFcn, SimpleLinearFcn, LargeLinearFcn]
