"""The layers of a dense network as plain numbers, so that a method can say in closed form what it will leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LayerShape:
    """A linear layer or a 2-D convolution; `name` is its place in `network.named_modules()`.

    `positions` is the number of output positions per sample (H'·W' of a convolution; 1 for a linear layer on vectors),
    summed over the layer's calls. `called` above 1 says that the network uses the layer more than once; `tied` that
    its weight is also another module's. `input_size` and `output_size` are (H, W) of a convolution that is called once;
    None where they are not known.

    `left_alone` is why no method may change the layer, empty for one that computes as nn.Linear or nn.Conv2d does: a
    forward pass of its own, a weight that something else computes or shares. `read_outside` says that the network reads
    its weight or sizes itself: the weight may be written in place, but no other module may stand there.
    """

    name: str
    kind: Literal["linear", "conv2d"]
    out_channels: int
    in_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True
    positions: int = 1
    called: int = 1
    tied: bool = False
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    left_alone: str = ""
    read_outside: bool = False

    @property
    def weight_count(self) -> int:
        """Entries of the weight tensor."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel[0] * self.kernel[1]

    @property
    def parameter_count(self) -> int:
        """Weight and bias."""
        return self.weight_count + (self.out_channels if self.bias else 0)

    @property
    def mac_count(self) -> int:
        """Multiply-accumulates for one sample, bias not counted."""
        return self.weight_count * self.positions


@dataclass(frozen=True)
class LayerCounts:
    """What a method leaves of one layer, in closed form; `left_alone` is the reason when it leaves the layer as is."""

    name: str
    parameter_count: int
    nonzero_parameter_count: int
    mac_count: int
    rank: int | None = None
    left_alone: str = ""

    @classmethod
    def unchanged(cls, layer: LayerShape, why: str) -> LayerCounts:
        """The counts of a layer that stays dense."""
        return cls(layer.name, layer.parameter_count, layer.parameter_count, layer.mac_count, None, why)
