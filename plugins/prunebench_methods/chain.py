"""The convolutions of a chain as modules that together keep stride, padding, dilation, bias, dtype and device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from prunebench_methods.decompose import Piece
from prunebench_methods.numerics import like


def chained(layer: nn.Conv2d, pieces: Sequence[Piece], weights: Sequence[Tensor]) -> nn.Sequential:
    """The pieces with these weights, in order; the layer's bias goes to the last one."""
    modules = [_module(layer, piece, weight) for piece, weight in zip(pieces, weights, strict=True)]
    if layer.bias is not None:
        modules[-1].bias = like(layer.bias, layer)
    return nn.Sequential(*modules)


def _module(layer: nn.Conv2d, piece: Piece, weight: Tensor) -> nn.Conv2d:
    module = blank(layer, piece)
    assert weight.shape == module.weight.shape, (weight.shape, module.weight.shape)
    module.weight = like(weight, layer)
    return module


def blank(layer: nn.Conv2d, piece: Piece, *, bias: bool = False) -> nn.Conv2d:
    """A convolution shaped like the piece, its numbers not yet set; nothing is drawn from torch's generator."""
    chosen = (piece.rows, piece.columns)
    options: dict[str, Any] = {
        "stride": _along(chosen, layer.stride, 1),
        "dilation": _along(chosen, layer.dilation, 1),
        "padding": _padding(layer, chosen),
        "padding_mode": layer.padding_mode if any(chosen) else "zeros",
        "groups": piece.groups,
        "bias": bias,
        "device": layer.weight.device,
        "dtype": layer.weight.dtype,
    }
    module: nn.Conv2d = skip_init(nn.Conv2d, piece.in_channels, piece.out_channels, piece.kernel, **options)
    return module


def _along(chosen: tuple[bool, bool], values: Sequence[int], otherwise: int) -> tuple[int, int]:
    rows, columns = (value if here else otherwise for here, value in zip(chosen, values, strict=True))
    return rows, columns


def _padding(layer: nn.Conv2d, chosen: tuple[bool, bool]) -> str | tuple[int, int]:
    """`same` and `valid` hold for each axis apart, so that they can be handed on as they are."""
    if isinstance(layer.padding, str):
        return layer.padding if any(chosen) else 0
    return _along(chosen, layer.padding, 0)


def relative_error(kernel: Tensor, approximation: Tensor) -> float:
    """Frobenius norm of the difference over that of the kernel; 0 for a kernel of zeros."""
    norm = float(torch.linalg.vector_norm(kernel.double()))
    return float(torch.linalg.vector_norm(kernel.double() - approximation.double())) / norm if norm else 0.0
