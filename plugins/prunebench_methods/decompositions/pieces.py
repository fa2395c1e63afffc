"""Chains of convolutions as plain numbers: shapes, weights and multiply-accumulates; no network is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from prunebench import LayerShape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """One convolution of a chain; `rows` and `columns` say along which axes it carries the layer's stride, padding
    and dilation. The last piece of a chain takes over the layer's bias."""

    out_channels: int
    in_channels: int
    kernel: tuple[int, int] = (1, 1)
    groups: int = 1
    rows: bool = False
    columns: bool = False

    @property
    def weight_count(self) -> int:
        """Entries of the weight tensor."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel[0] * self.kernel[1]


class Factors(NamedTuple):
    """Weights of a chain, one per piece, in (out, in/groups, kh, kw); `error` is relative to the kernel's norm.

    `orders`, where given, are the channel numbers that each piece receives, and those of the outputs behind the last.
    """

    weights: tuple[Tensor, ...]
    error: float
    orders: tuple[Tensor | None, ...] = ()


def weight_count(pieces: Sequence[Piece]) -> int:
    """Entries of all weights of a chain."""
    return sum(piece.weight_count for piece in pieces)


def chain_mac_count(shape: LayerShape, pieces: Sequence[Piece]) -> int:
    """Multiply-accumulates of a chain for one sample; needs the layer's spatial sizes."""
    assert shape.input_size is not None and shape.output_size is not None
    height, width = shape.input_size
    total = 0
    for piece in pieces:
        height = shape.output_size[0] if piece.rows else height
        width = shape.output_size[1] if piece.columns else width
        total += piece.weight_count * height * width
    return total


def sizes_known(shapes: Sequence[LayerShape]) -> bool:
    """Whether every convolution that is called once says how large its input and output are."""
    called = [shape for shape in shapes if shape.kind == "conv2d" and shape.called == 1]
    return all(shape.input_size is not None and shape.output_size is not None for shape in called)
