"""Low rank in the metric of what the layers see: the strongest one-shot compression here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.low_rank import forms
from prunebench_methods.low_rank.forms import form_param, keep_param, rank_within
from prunebench_methods.low_rank.low_rank import SECTION_DOC, SKIP_LAST_DOC
from prunebench_methods.low_rank.ranks import rank_at, ratio_for_speedup, uniform_budget
from prunebench_methods.shared.selection import (
    SECTIONS,
    full_rank,
    gain_batch_param,
    min_gain_param,
    refusals,
    require_one,
    rounded_up,
    saves_nothing,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class DataAwareLowRank(Method):
    """The best rank-r product for the inputs that a layer really sees, its mean kept exactly by the bias.

    Zhang et al., 2015: the responses are projected on their principal components, which is truncated SVD after
    whitening the inputs by their centred covariance. `asymmetric` goes layer after layer and fits the dense network's
    responses from the inputs that the already factorized layers deliver. Departs from the paper in a least-squares
    solution damped towards the dense weights, in weighing errors by the gradients of the dense network's outputs
    (`importance = "alike"` is the paper's way; no gradient step is taken), and in sharing one budget of
    multiply-accumulates between the layers (`allocation = "global"`), greedily by what the outputs lose, not by the
    product of energies.
    """

    name = "data_aware_low_rank"
    paper = "https://arxiv.org/abs/1505.06798"
    knob = "rank_ratio"
    example = {"rank_ratio": 0.25, "round_to": 1}
    loosest = {"rank_ratio": 1.0, "skip_last": False, "even_if_larger": True}

    rank: int | None = param(None, "components kept in every layer", at_least=1)
    rank_ratio: float | None = param(None, "components kept, as a share of the full rank", above=0, at_most=1)
    theoretical_speedup: float | None = param(None, "dense over remaining multiply-accumulates", at_least=1)
    allocation: str = param(
        "uniform",
        "the same setting in all layers, or the multiply-accumulates that it comes to shared by their spectra",
        choices=("uniform", "global"),
    )
    importance: str = param(
        "outputs",
        "errors of a layer's responses count by what they move in the network's outputs, or all alike",
        choices=("outputs", "alike"),
    )
    asymmetric: bool = param(True, "fit the dense responses from already pruned inputs, layer after layer")
    section: str = param("all", SECTION_DOC, choices=SECTIONS)
    round_to: int = param(16, "ranks are rounded up to a multiple of this", at_least=1)
    skip_last: bool = param(True, SKIP_LAST_DOC)
    ridge: float = param(1e-3, "damping, as a share of the inputs' mean variance; 0.1 for language models", above=0)
    even_if_larger: bool = param(False, "factorize also where the factors are no smaller than the layer")
    keep: float | None = keep_param()
    form: str = form_param()
    min_gain: float | None = min_gain_param()
    gain_batch: int = gain_batch_param()

    @property
    def measures(self) -> bool:
        """With `min_gain` the times of layers."""
        return self.min_gain is not None

    def check(self) -> None:
        """Exactly one budget."""
        wanted = {"rank": self.rank, "rank_ratio": self.rank_ratio, "theoretical_speedup": self.theoretical_speedup}
        require_one(**wanted, keep=self.keep)
        if self.form != "factors" and (self.allocation == "global" or self.theoretical_speedup is not None):
            raise ValueError('budgets of multiply-accumulates are counted in two factors: form must be "factors"')

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by two; those that would not shrink stay."""
        from prunebench_methods.low_rank.data_aware_math import factorize_by_data

        return factorize_by_data(self, network, task)

    def refused(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it may not be changed, whatever the rank."""
        return refusals(shapes, self.section, grouped=False, skip_last=self.skip_last)

    def ranks(self, shapes: Sequence[LayerShape]) -> dict[str, int]:
        """Layer -> the rank that the settings ask for, the same share or number in all."""
        kept = [name for name, why in self.refused(shapes).items() if why]
        if self.keep is not None:
            return {s.name: rank_within(s, self.keep, self.form, self.round_to) for s in shapes}
        if self.rank is not None:
            return {s.name: rounded_up(self.rank, self.round_to, full_rank(s)) for s in shapes}
        if self.theoretical_speedup is not None:
            ratio = ratio_for_speedup(shapes, kept, self.theoretical_speedup, self.round_to)
        else:
            ratio = self.rank_ratio or 1.0
        return {s.name: rank_at(s, ratio, self.round_to) for s in shapes}

    def budget(self, shapes: Sequence[LayerShape]) -> float:
        """The multiply-accumulates that a global allocation may spend."""
        if self.theoretical_speedup is not None:
            return sum(shape.mac_count for shape in shapes) / self.theoretical_speedup
        ranks, refused = self.ranks(shapes), self.refused(shapes)
        return uniform_budget(shapes, [name for name, why in refused.items() if why], lambda s: ranks[s.name])

    def reasons(self, shapes: Sequence[LayerShape], ranks: dict[str, int]) -> dict[str, str]:
        """Layer -> why it is left alone at these ranks; empty for those to be factorized."""
        found = self.refused(shapes)
        if self.even_if_larger:
            return {s.name: found[s.name] or ("" if ranks[s.name] else "no rank is small enough") for s in shapes}
        if self.keep is not None or self.form != "factors":
            return {s.name: found[s.name] or forms.saves_nothing(s, ranks[s.name], self.form) for s in shapes}
        return {s.name: found[s.name] or saves_nothing(ranks[s.name], s) for s in shapes}

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """r(m + n) weights and m biases for an m x n layer; None when data or times decide."""
        if self.allocation == "global" or self.min_gain is not None:
            return None
        ranks = self.ranks(shapes)
        why = self.reasons(shapes, ranks)
        return [
            LayerCounts.unchanged(s, why[s.name])
            if why[s.name]
            else forms.product_counts(s, ranks[s.name], self.form, outer_bias=True)
            for s in shapes
        ]
