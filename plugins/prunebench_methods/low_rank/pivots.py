"""Products of low rank as some of their rows and the coefficients that make the others.

Letters: A (m, r) and B (r, n) are factors; p orders the m rows so that the first r make the others best; T (m - r, r)
holds the coefficients: rows p[r:] of A are T times rows p[:r].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prunebench_methods.shared.layers import geometry, new_conv, new_linear, two_layers
from prunebench_methods.shared.replace import Layer

LARGEST = 1.1  # a coefficient beyond it has its rows exchanged
EXCHANGES = 2  # times r exchanges at most


def pivot_rows(left: Tensor) -> tuple[Tensor, Tensor]:
    """p (m,) and T (m - r, r) of a left factor (m, r), r at most m.

    Gaussian elimination with row exchanges starts it; then rows are exchanged while a coefficient is above 1.1, each
    time of which the volume of the chosen rows grows by that factor (Goreinov, Oseledets, Savostyanov, Tyrtyshnikov,
    Zamarashkin, 2010). Exists for every factor, dependent columns included.
    """
    rows, rank = left.shape
    packed, swaps = torch.linalg.lu_factor_ex(left)[:2]
    order = torch.arange(rows, device=left.device)
    for place, other in enumerate((swaps - 1).tolist()):
        order[[place, other]] = order[[other, place]]
    unit = packed[:rank].tril(-1) + torch.eye(rank, dtype=left.dtype, device=left.device)
    others = torch.linalg.solve_triangular(unit, packed[rank:], upper=False, left=False, unitriangular=True)
    return _exchanged(order, others)


def _exchanged(order: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    rank = others.shape[1]
    for _ in range(EXCHANGES * rank if others.numel() else 0):
        at = int(others.abs().argmax())
        row, column = divmod(at, rank)
        pivot = float(others[row, column])
        if abs(pivot) <= LARGEST:
            break
        order[[column, rank + row]] = order[[rank + row, column]]
        step, line = others[:, column].clone(), others[row].clone()
        step[row] += 1
        line[column] -= 1
        others -= torch.outer(step, line / pivot)
    return order, others


def product_layer(layer: Layer, left: Tensor, right: Tensor, bias: Tensor | None, form: str) -> nn.Module:
    """`layer` as left (m, r) times right (r, n), in the form that is asked for; one layer where r is m or more."""
    if form == "factors":
        return two_layers(layer, left, right, bias)
    if left.shape[1] >= left.shape[0]:  # every row is a row of its own
        return _whole(layer, left @ right, bias)
    return pivot_layers(layer, left, right, bias)


def _whole(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """A layer of the same geometry with this weight (m, n)."""
    if isinstance(layer, nn.Linear):
        return new_linear(layer, weight, bias)
    return new_conv(layer, weight.reshape(layer.weight.shape), bias, **geometry(layer))


def pivot_layers(layer: Layer, left: Tensor, right: Tensor, bias: Tensor | None) -> nn.Module:
    """`layer` as the rows of left (m, r) times right (r, n) that make the others, and those; r below m."""
    rank = left.shape[1]
    order, others = pivot_rows(left)
    rows = left[order[:rank]] @ right
    biases: tuple[Tensor | None, Tensor | None] = (None, None)
    if bias is not None:
        own = bias[order[:rank]]
        biases = (own, bias[order[rank:]] - others @ own)
    if isinstance(layer, nn.Linear):
        parts = new_linear(layer, rows, biases[0]), new_linear(layer, others, biases[1])
        return Pivoted(*parts, order.argsort(), -1)
    kernel = rows.reshape(rank, layer.in_channels, *layer.kernel_size)
    first = new_conv(layer, kernel, biases[0], **geometry(layer))
    return Pivoted(first, new_conv(layer, others[:, :, None, None], biases[1]), order.argsort(), 1)


class Pivoted(nn.Module):
    """Some outputs of a layer from its inputs, the others from those, along `axis`.

    `places` says where each output of the layer stands among the ones and the others.
    """

    places: Tensor  # int32 (m,)

    def __init__(self, rows: nn.Module, others: Layer, places: Tensor, axis: int) -> None:
        super().__init__()
        self.rows, self.others, self.axis = rows, others, axis
        self.register_buffer("places", places.to(torch.int32))

    def forward(self, input: Tensor) -> Tensor:
        some = self.rows(input)
        return torch.cat((some, self.others(some)), self.axis).index_select(self.axis, self.places)
