"""A projection of a layer's input on fewer directions: what the methods that do so have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from prunebench import LayerCounts, LayerShape, Method, param

from prunebench_methods.low_rank import forms
from prunebench_methods.low_rank.forms import form_param, keep_param
from prunebench_methods.low_rank.low_rank import SECTION_DOC, SKIP_LAST_DOC
from prunebench_methods.shared.selection import (
    SECTIONS,
    factor_counts,
    full_rank,
    gain_batch_param,
    min_gain_param,
    refusals,
    rounded_up,
    saves_nothing,
)


@dataclass(frozen=True)
class InputProjection(Method):
    """A narrow layer before each layer, at a rank that is given or, where `measured`, that the data decide."""

    knob = "rank_ratio"
    example = {"rank_ratio": 0.25}
    loosest = {"rank_ratio": 1.0, "even_if_larger": True}

    rank: int | None = param(None, "directions kept of every input", at_least=1)
    rank_ratio: float | None = param(None, "directions kept, as a share of the input's channels", above=0, at_most=1)
    section: str = param("fc", SECTION_DOC, choices=SECTIONS)
    round_to: int = param(1, "ranks are rounded up to a multiple of this", at_least=1)
    skip_last: bool = param(False, SKIP_LAST_DOC)
    even_if_larger: bool = param(False, "project also where that saves no weights")
    keep: float | None = keep_param()
    form: str = form_param()
    min_gain: float | None = min_gain_param()
    gain_batch: int = gain_batch_param()
    centred = True  # the mean goes out of the inputs and into the bias

    @property
    def measures(self) -> bool:
        """With `min_gain` the times of layers."""
        return self.min_gain is not None

    @property
    def measured(self) -> bool:
        """Whether data and not the settings decide the ranks."""
        raise NotImplementedError

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone, as far as the settings decide; empty for those to be projected."""
        found = refusals(shapes, self.section, grouped=False, skip_last=self.skip_last)
        if self.form != "factors":
            only = "a projected convolution has no pivot form"
            found = {s.name: found[s.name] or (only if s.kind != "linear" else "") for s in shapes}
        if self.measured:
            return found
        found = {s.name: found[s.name] or ("" if self.rank_of(s) else "no rank is small enough") for s in shapes}
        if self.even_if_larger:
            return found
        return {s.name: found[s.name] or self.no_saving(s, self.rank_of(s)) for s in shapes}

    def no_saving(self, shape: LayerShape, rank: int) -> str:
        """The reason not to project the input on so many components, or an empty string."""
        if self.form == "factors":
            return no_saving(rank, shape)
        return forms.saves_nothing(shape, min(rank, full_rank(shape)), self.form)

    def rank_of(self, shape: LayerShape) -> int:
        """The rank that `rank` or `rank_ratio` asks for, rounded, within the input's channels."""
        if self.keep is not None:
            return rank_sharing(shape, self.keep, self.form, self.round_to)
        wanted = self.rank if self.rank is not None else round((self.rank_ratio or 1.0) * shape.in_channels)
        return rounded_up(wanted, self.round_to, shape.in_channels)

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """r(m + n) weights for a linear m x n layer; None where the ranks are `measured`, or times."""
        why = self.reasons(shapes)
        if self.measured or self.measures or not all(why[s.name] or has_closed_form(s) for s in shapes):
            return None
        return [
            LayerCounts.unchanged(s, why[s.name])
            if why[s.name]
            else projection_counts(s, self.rank_of(s), self.form, centred=self.centred)
            for s in shapes
        ]


def has_closed_form(shape: LayerShape) -> bool:
    """Whether the shape tells the resolution at which a projection of its input works."""
    return shape.kind == "linear" or shape.input_size is not None


def rank_sharing(shape: LayerShape, keep: float, form: str, round_to: int) -> int:
    """The largest rank at which a layer behind a projection has at most this share of its weights, rounded down."""
    if shape.kind == "linear":
        return forms.rank_within(shape, keep, form, round_to)
    area = shape.kernel[0] * shape.kernel[1]
    allowed = math.floor(Fraction(repr(float(keep))) * shape.weight_count)
    rank = min(shape.in_channels, allowed // (shape.in_channels + shape.out_channels * area))
    return rank // round_to * round_to or rank


def projection_counts(shape: LayerShape, rank: int, form: str, *, centred: bool) -> LayerCounts:
    """What a layer behind a projection of its input on `rank` components leaves; `centred` gives linear ones a bias."""
    if shape.kind == "linear":
        if form == "factors":
            return factor_counts(shape, rank, outer_bias=centred)
        return forms.product_counts(shape, min(rank, full_rank(shape)), form, outer_bias=centred)
    assert shape.input_size is not None
    before = rank * shape.in_channels
    after = shape.out_channels * rank * shape.kernel[0] * shape.kernel[1]
    stored = before + after + (shape.out_channels if shape.bias else 0)
    macs = before * shape.input_size[0] * shape.input_size[1] + after * shape.positions
    return LayerCounts(shape.name, stored, stored, macs, rank)


def no_saving(rank: int, shape: LayerShape) -> str:
    """The reason not to project the input on `rank` components, or an empty string."""
    if shape.kind == "linear":
        return saves_nothing(rank, shape)
    area = shape.kernel[0] * shape.kernel[1]
    limit = (shape.weight_count - 1) // (shape.in_channels + shape.out_channels * area)
    return "" if rank <= limit else f"rank {rank} saves nothing here: break-even is {limit}"
