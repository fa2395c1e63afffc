"""The convolutions of a chain as modules that together keep stride, padding, dilation, bias, dtype and device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from prunebench_methods.decompositions.pieces import Factors, Piece
from prunebench_methods.shared.numerics import like


class Reordered(nn.Module):
    """The channels of its input in another order, perhaps repeated: (B, C, H, W) to (B, len(order), H, W)."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order)

    def extra_repr(self) -> str:
        return f"{len(self.order)} channels"


def chained(layer: nn.Conv2d, pieces: Sequence[Piece], factors: Factors) -> nn.Sequential:
    """The pieces with these weights, in order; the layer's bias goes to the last one."""
    modules = [_module(layer, piece, weight) for piece, weight in zip(pieces, factors.weights, strict=True)]
    if layer.bias is not None:
        modules[-1].bias = like(layer.bias if not factors.orders else _before_last(layer.bias, factors), layer)
    if not factors.orders:
        return nn.Sequential(*modules)
    mixed: list[nn.Module] = []
    for order, module in zip(factors.orders, [*modules, None], strict=True):
        mixed += [] if order is None else [Reordered(order.to(layer.weight.device))]
        mixed += [] if module is None else [module]
    return nn.Sequential(*mixed)


def _before_last(bias: Tensor, factors: Factors) -> Tensor:
    """The bias in the order in which the last piece has its outputs."""
    last = factors.orders[-1]
    return bias if last is None else bias[last.argsort()]


def _module(layer: nn.Conv2d, piece: Piece, weight: Tensor) -> nn.Conv2d:
    module = blank(layer, piece)
    assert weight.shape == module.weight.shape, (weight.shape, module.weight.shape)
    module.weight = like(weight, layer)
    return module


def blank(layer: nn.Conv2d, piece: Piece, **changes: Any) -> nn.Conv2d:
    """A convolution shaped like the piece, its numbers not yet set; nothing is drawn from torch's generator.

    `changes` replaces keyword arguments of `nn.Conv2d`; without any there is no bias.
    """
    chosen = (piece.rows, piece.columns)
    options: dict[str, Any] = {
        "stride": _along(chosen, layer.stride, 1),
        "dilation": _along(chosen, layer.dilation, 1),
        "padding": _padding(layer, chosen),
        "padding_mode": layer.padding_mode if any(chosen) else "zeros",
        "groups": piece.groups,
        "bias": False,
        "device": layer.weight.device,
        "dtype": layer.weight.dtype,
    } | changes
    module: nn.Conv2d = skip_init(nn.Conv2d, piece.in_channels, piece.out_channels, piece.kernel, **options)
    return module


def _along(chosen: tuple[bool, bool], values: Sequence[int], otherwise: int) -> tuple[int, int]:
    rows, columns = (value if here else otherwise for here, value in zip(chosen, values, strict=True))
    return rows, columns


def _padding(layer: nn.Conv2d, chosen: tuple[bool, bool]) -> str | tuple[int, int]:
    """`same` and `valid` hold for each axis apart, so that they can be handed on as they are."""
    if isinstance(layer.padding, str):
        return layer.padding if any(chosen) else (0, 0)
    return _along(chosen, layer.padding, 0)


def relative_error(kernel: Tensor, approximation: Tensor) -> float:
    """Frobenius norm of the difference over that of the kernel; 0 for a kernel of zeros."""
    norm = float(torch.linalg.vector_norm(kernel.double()))
    return float(torch.linalg.vector_norm(kernel.double() - approximation.double())) / norm if norm else 0.0
