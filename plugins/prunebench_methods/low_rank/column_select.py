"""Columns chosen once from data, the others interpolated: the form in which dropping columns works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.low_rank.low_rank import SECTION_DOC, SKIP_LAST_DOC
from prunebench_methods.shared.selection import (
    SECTIONS,
    gain_batch_param,
    min_gain_param,
    refusals,
    require_one,
    rounded_up,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ColumnSelect(Method):
    """Keep the inputs from which calibration data predicts the others best, and fold the others into their weights.

    An interpolative decomposition of each layer's inputs (Chee et al., 2022), chosen by pivoted Cholesky of their
    Gram matrix, each input weighed by the norm of its column of weights. Departs from the paper in selecting for every
    layer by itself: the layer before still computes all of its outputs. For convolutions inputs are channels.
    """

    name = "column_select"
    paper = "https://arxiv.org/abs/2108.00065"
    knob = "keep"
    example = {"keep": 0.5}
    loosest = {"keep": 1.0}

    keep: float | None = param(None, "share of a layer's input columns kept", above=0, at_most=1)
    columns: int | None = param(None, "input columns kept in every layer", at_least=1)
    section: str = param("all", SECTION_DOC, choices=SECTIONS)
    round_to: int = param(1, "numbers of columns are rounded up to a multiple of this", at_least=1)
    skip_last: bool = param(False, SKIP_LAST_DOC)
    ridge: float = param(1e-4, "damping of the interpolation, as a share of the inputs' mean variance", above=0)
    min_gain: float | None = min_gain_param()
    gain_batch: int = gain_batch_param()

    @property
    def measures(self) -> bool:
        """With `min_gain` the times of layers."""
        return self.min_gain is not None

    def check(self) -> None:
        """Exactly one number of columns."""
        require_one(keep=self.keep, columns=self.columns)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by a selection of inputs and a narrower layer."""
        from prunebench_methods.low_rank.column_select_math import select_columns

        return select_columns(self, network, task)

    def columns_of(self, shape: LayerShape) -> int:
        """Input columns kept of this layer's."""
        wanted = self.columns if self.columns is not None else round((self.keep or 1.0) * shape.in_channels)
        return rounded_up(wanted, self.round_to, shape.in_channels)

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone; empty for those to lose columns."""
        found = refusals(shapes, self.section, grouped=False, skip_last=self.skip_last)
        if self.keep == 1.0:
            return found
        return {s.name: found[s.name] or self._all_kept(s) for s in shapes}

    def _all_kept(self, shape: LayerShape) -> str:
        kept = self.columns_of(shape)
        return "" if kept < shape.in_channels else f"all of its {shape.in_channels} input columns are kept"

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """m · k · kernel weights, a linear layer without a bias gets one; None where times decide."""
        if self.min_gain is not None:
            return None
        why = self.reasons(shapes)
        return [LayerCounts.unchanged(s, why[s.name]) if why[s.name] else self._counts(s) for s in shapes]

    def _counts(self, shape: LayerShape) -> LayerCounts:
        kept = self.columns_of(shape)
        weights = shape.out_channels * kept * shape.kernel[0] * shape.kernel[1]
        stored = weights + (shape.out_channels if shape.bias or shape.kind == "linear" else 0)
        return LayerCounts(shape.name, stored, stored, weights * shape.positions, kept)
