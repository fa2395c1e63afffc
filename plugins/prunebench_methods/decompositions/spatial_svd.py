"""Spatial SVD of convolutions: a column filter, then a row filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import LayerShape, Task

from prunebench_methods.decompositions.decompose import Decomposition
from prunebench_methods.decompositions.pieces import Factors, Piece

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SpatialSvd(Decomposition):
    """A kh x kw convolution as a kh x 1 one to `rank` channels and a 1 x kw one (Jaderberg et al., 2014, scheme 2).

    Departs from the paper in that the best filters come in closed form, from one singular value decomposition of the
    kernel as an (S kh) x (T kw) matrix, so that no filter is trained. There is no pivot form: a row of a factor is one
    place of a filter, not a channel.
    """

    name = "spatial_svd"
    paper = "https://arxiv.org/abs/1405.3866"
    spatial: ClassVar[bool] = False

    def pieces(self, shape: LayerShape, rank: int) -> tuple[Piece, ...]:
        """S -> rank along the rows, rank -> T along the columns."""
        height, width = shape.kernel
        return (
            Piece(rank, shape.in_channels, (height, 1), rows=True),
            Piece(shape.out_channels, rank, (1, width), columns=True),
        )

    def exact_rank(self, shape: LayerShape) -> int:
        """The smaller side of the matrix."""
        return min(shape.in_channels * shape.kernel[0], shape.out_channels * shape.kernel[1])

    def factors(self, layer: nn.Conv2d, name: str, rank: int, task: Task) -> Factors:
        """Slices of one decomposition, which a sweep over ranks does once."""
        from prunebench_methods.decompositions.spatial_svd_math import kernel_svd, spatial_factors

        return spatial_factors(layer, task.once(("spatial_svd", name), lambda: kernel_svd(layer)), rank)
