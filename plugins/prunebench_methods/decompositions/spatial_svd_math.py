"""The decomposition behind spatial_svd."""

from __future__ import annotations

from torch import Tensor, nn

from prunebench_methods.decompositions.pieces import Factors
from prunebench_methods.shared.numerics import Svd, svd, working


def kernel_svd(layer: nn.Conv2d) -> Svd:
    """The kernel (T, S, kh, kw) decomposed as a matrix (S kh, T kw)."""
    weight = working(layer.weight)
    rows, columns = weight.shape[1] * weight.shape[2], weight.shape[0] * weight.shape[3]
    matrix: Tensor = weight.permute(1, 2, 0, 3).reshape(rows, columns)
    return svd(matrix)


def spatial_factors(layer: nn.Conv2d, found: Svd, rank: int) -> Factors:
    """Column filters (rank, S, kh, 1) and row filters (T, rank, 1, kw), singular values shared between them."""
    out_channels, in_channels, height, width = layer.weight.shape
    left, right = found.factors(rank)  # (S kh, rank), (rank, T kw)
    vertical = left.T.reshape(rank, in_channels, height, 1)
    horizontal = right.reshape(rank, out_channels, 1, width).permute(1, 0, 2, 3)
    return Factors((vertical, horizontal), found.relative_error(rank))
