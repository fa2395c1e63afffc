"""The two forms of a rank-r product, and the rank that a share of the parameters allows.

`factors`: two matrices, r (m + n) numbers. `pivot`: r of the rows themselves and the coefficients that make the others
of them, r (m + n - r) numbers for the same product, never more than the layer has.
"""

from __future__ import annotations

import math
from fractions import Fraction

from prunebench import LayerCounts, LayerShape, param

from prunebench_methods.shared.selection import full_rank, matrix_shape

FORMS = ("factors", "pivot")
FORM_DOC = "two factors, or r rows and coefficients for the others: fewer numbers, but outputs are joined and reordered"
KEEP_DOC = "share of the weights of each layer that its product may have"


def weights_at(shape: LayerShape, rank: int, form: str) -> int:
    """Weights of the product at this rank, of all groups together."""
    rows, columns = matrix_shape(shape)
    return shape.groups * rank * (rows + columns - (rank if form == "pivot" else 0))


def keep_param() -> float | None:
    """The share as a field that a method gained."""
    found: float | None = param(None, KEEP_DOC, above=0, at_most=1, additive=True)
    return found


def form_param() -> str:
    """The form as a field that a method gained."""
    found: str = param("factors", FORM_DOC, choices=FORMS, additive=True)
    return found


def rank_within(shape: LayerShape, keep: float, form: str, round_to: int) -> int:
    """`rank_for`, rounded down to a multiple of `round_to` where that leaves any."""
    rank = rank_for(shape, keep, form)
    return rank // round_to * round_to or rank


def rank_for(shape: LayerShape, keep: float, form: str) -> int:
    """The largest rank at which the product has at most this share of the layer's weights; may be 0."""
    rows, columns = matrix_shape(shape)
    allowed = math.floor(Fraction(repr(float(keep))) * rows * columns)
    total = rows + columns
    if form == "factors":
        return min(full_rank(shape), allowed // total if total else 0)
    rank = (total - math.isqrt(max(0, total * total - 4 * allowed))) // 2
    while rank and rank * (total - rank) > allowed:  # the square root was rounded down
        rank -= 1
    while rank < full_rank(shape) and (rank + 1) * (total - rank - 1) <= allowed:
        rank += 1
    return rank


def saves_nothing(shape: LayerShape, rank: int, form: str) -> str:
    """The reason to keep the layer dense at `rank`, or an empty string."""
    if rank < 1:
        return "even rank 1 has more weights than the share allows"
    held, dense = weights_at(shape, rank, form), shape.weight_count
    return "" if held < dense else f"rank {rank} saves nothing here: {held:,} weights for {dense:,}"


def product_counts(shape: LayerShape, rank: int, form: str, *, outer_bias: bool = False) -> LayerCounts:
    """What a product of this rank leaves; `outer_bias` gives it a bias also where the layer had none."""
    weights = weights_at(shape, rank, form)
    stored = weights + (shape.out_channels if shape.bias or outer_bias else 0)
    return LayerCounts(shape.name, stored, stored, weights * shape.positions, rank)
