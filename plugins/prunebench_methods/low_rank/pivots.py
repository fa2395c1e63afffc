"""Products of low rank as some of their rows and the coefficients that make the others.

Letters: A (m, r) and B (r, n) are factors; p orders the m rows so that the first r make the others best; T (m - r, r)
holds the coefficients: rows p[r:] of A are T times rows p[:r].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunebench_methods.shared.layers import geometry, new_conv, new_linear, two_layers
from prunebench_methods.shared.replace import Layer

LARGEST = 10.0  # a coefficient beyond it has its rows exchanged; eliminations of orthonormal columns stay at about 2
EXCHANGES = 2  # times r exchanges at most


@dataclass(frozen=True)
class Elimination:
    """Gaussian elimination with row exchanges of a left factor (m, k), k at most m, for its first r columns at once.

    Its first r steps see the first r columns alone, so that one elimination serves every rank up to k.
    """

    packed: Tensor  # (m, k): the multipliers below the diagonal, rows in their new order
    order: Tensor  # (m,)

    @classmethod
    def of(cls, left: Tensor) -> Elimination:
        """Of this factor; the lengths of its columns play no part."""
        packed, swaps = torch.linalg.lu_factor_ex(left)[:2]
        order = list(range(len(left)))
        for place, other in enumerate((swaps - 1).tolist()):
            order[place], order[other] = order[other], order[place]
        return cls(packed, torch.tensor(order, device=left.device))

    def rows(self, rank: int) -> tuple[Tensor, Tensor]:
        """p (m,) and T (m - r, r) of the first r columns, before any exchange."""
        unit = self.packed[:rank, :rank]  # the solver takes the diagonal as ones and reads nothing above it
        below = self.packed[rank:, :rank]
        others = torch.linalg.solve_triangular(unit, below, upper=False, left=False, unitriangular=True)
        return self.order.clone(), others


def pivot_rows(left: Tensor, elimination: Elimination | None = None) -> tuple[Tensor, Tensor]:
    """p (m,) and T (m - r, r) of a left factor (m, r), r at most m; `elimination` is one of these columns and more.

    Elimination starts it; then rows are exchanged while a coefficient is above 10, each time of which the volume of
    the chosen rows grows by that factor (Goreinov, Oseledets, Savostyanov, Tyrtyshnikov, Zamarashkin, 2010). Exists
    for every factor, dependent columns included.
    """
    return _exchanged(*(elimination or Elimination.of(left)).rows(left.shape[1]))


def _exchanged(order: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    rank = others.shape[1]
    if not others.numel() or max(abs(float(end)) for end in others.aminmax()) <= LARGEST:
        return order, others
    for _ in range(EXCHANGES * rank):
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


def product_layer(
    layer: Layer,
    left: Tensor,
    right: Tensor,
    bias: Tensor | None,
    form: str,
    elimination: Elimination | None = None,
    *,
    fresh: bool = False,
) -> nn.Module:
    """`layer` as left (m, r) times right (r, n), in the form that is asked for; one layer where r is m or more.

    `fresh` says that nobody else has the factors: they become weights without being copied.
    """
    if form == "factors":
        return two_layers(layer, left, right, bias, fresh=fresh)
    if left.shape[1] >= left.shape[0]:  # every row is a row of its own
        return _whole(layer, left @ right, bias)
    return pivot_layers(layer, left, right, bias, elimination)


def _whole(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """A layer of the same geometry with this weight (m, n)."""
    if isinstance(layer, nn.Linear):
        return new_linear(layer, weight, bias)
    return new_conv(layer, weight.reshape(layer.weight.shape), bias, **geometry(layer))


def pivot_layers(
    layer: Layer, left: Tensor, right: Tensor, bias: Tensor | None, elimination: Elimination | None = None
) -> nn.Module:
    """`layer` as the rows of left (m, r) times right (r, n) that make the others, and those; r below m."""
    rank = left.shape[1]
    order, others = pivot_rows(left, elimination)
    rows = left[order[:rank]] @ right
    biases: tuple[Tensor | None, Tensor | None] = (None, None)
    if bias is not None:
        own = bias[order[:rank]]
        biases = (own, bias[order[rank:]] - others @ own)
    if isinstance(layer, nn.Linear):
        parts = new_linear(layer, rows, biases[0], fresh=True), new_linear(layer, others, biases[1], fresh=True)
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
