"""The weights of the layers that separable_basis puts instead of a convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prunebench_methods.decompositions.als import ModeBases, Settings, composed, fitted, mode_bases
from prunebench_methods.decompositions.chain import relative_error
from prunebench_methods.decompositions.pieces import Factors
from prunebench_methods.shared.numerics import working


def by_channel(layer: nn.Conv2d) -> Tensor:
    """The kernel as one tensor (T, kh, kw) an input channel: (S, T, kh, kw)."""
    return working(layer.weight).transpose(0, 1).contiguous()


def channel_bases(layer: nn.Conv2d) -> ModeBases:
    """What every fit of this layer's channels starts from."""
    return mode_bases(by_channel(layer))


def basis_factors(
    layer: nn.Conv2d, found: ModeBases, rank: int, generator: torch.Generator, settings: Settings
) -> Factors:
    """Columns (S·R, 1, kh, 1), rows (S·R, 1, 1, kw) and mixture (T, S·R, 1, 1)."""
    kernel = by_channel(layer)
    parts = fitted(kernel, rank, found, generator, settings)
    error = relative_error(kernel, composed(parts))
    mixture, rows, columns = parts  # (S, T, R), (S, kh, R), (S, kw, R)
    vertical = rows.transpose(1, 2).flatten(0, 1)[:, None, :, None]
    horizontal = columns.transpose(1, 2).flatten(0, 1)[:, None, None, :]
    return Factors((vertical, horizontal, mixture.transpose(0, 1).flatten(1)[:, :, None, None]), error)
