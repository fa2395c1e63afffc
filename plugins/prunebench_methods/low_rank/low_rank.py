"""Truncated singular value decompositions of weights: no data needed, ranks known in advance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.low_rank import forms
from prunebench_methods.low_rank.forms import form_param, keep_param
from prunebench_methods.shared.allocation import allocation_param
from prunebench_methods.shared.selection import (
    GAIN_BATCH_DOC,
    MIN_GAIN_DOC,
    SECTIONS,
    auto_section,
    factor_counts,
    full_rank,
    refusals,
    require_one,
    rounded_up,
    saves_nothing,
    too_wide,
)

if TYPE_CHECKING:
    from torch import nn

SECTION_DOC = "which layers: fully connected, convolutions, or both"
SPREADS = ("uniform", "owl", "influence", "effective_rank")  # what a singular value costs the loss is not known
SKIP_LAST_DOC = "keep the last linear layer, the classifier, dense"


@dataclass(frozen=True)
class LowRank(Method):
    """Truncated SVD of linear layers, and of convolutions as k x k to `rank` channels, then 1 x 1.

    Denton et al., 2014, for linear layers; as Ravan and Ebanks, 2024, Algorithm 3, for both. Departs from the latter's
    code in keeping the singular values, and in never unfolding a convolution. A grouped convolution is decomposed
    group by group, with `rank` components each, as two factors only. Which layers `min_gain` leaves dense depends on
    the machine and its load: two runs may differ where a gain is near the limit. A share that is spread over layers
    (`allocation`) looks at calibration data, the decompositions never do.
    """

    name = "low_rank"
    paper = "https://arxiv.org/abs/1404.0736"
    knob = "rank_ratio"
    example = {"rank_ratio": 0.25}
    loosest = {"rank_ratio": 1.0, "even_if_larger": True}

    rank: int | None = param(None, "components kept in every layer", at_least=1)
    rank_ratio: float | None = param(None, "components kept, as a share of the full rank", above=0, at_most=1)
    energy: float | None = param(None, "share of the squared singular values kept", above=0, at_most=1)
    section: str = param("all", SECTION_DOC, choices=SECTIONS)
    round_to: int = param(1, "ranks are rounded up to a multiple of this", at_least=1)
    skip_last: bool = param(False, SKIP_LAST_DOC)
    even_if_larger: bool = param(False, "factorize also where the factors are no smaller than the layer")
    min_gain: float | None = param(None, MIN_GAIN_DOC, above=0)
    gain_batch: int = param(1, GAIN_BATCH_DOC, at_least=1)
    keep: float | None = keep_param()
    form: str = form_param()
    allocation: str = allocation_param(SPREADS)

    @property
    def measures(self) -> bool:
        """With `min_gain` the times of layers."""
        return self.min_gain is not None

    def check(self) -> None:
        """Exactly one way to choose the rank."""
        require_one(rank=self.rank, rank_ratio=self.rank_ratio, energy=self.energy, keep=self.keep)
        if self.allocation != "uniform" and self.keep is None:
            raise ValueError(f'allocation "{self.allocation}" needs `keep`, the share of all weights')

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by two; those that would not shrink stay."""
        from prunebench_methods.low_rank.low_rank_math import factorize_all

        return factorize_all(self, network, task)

    def refused(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it may not be changed, whatever the rank; a share that is spread needs Gram matrices."""
        found = refusals(shapes, self.section, grouped=self.form == "factors", skip_last=self.skip_last)
        return found if self.allocation == "uniform" else {s.name: found[s.name] or too_wide(s) for s in shapes}

    def at(self, keep: float) -> LowRank:
        """The method for one layer that may be changed, with this share."""
        return replace(self, keep=keep, allocation="uniform", skip_last=False)

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone, as far as the settings decide; empty for those to be factorized."""
        found = self.refused(shapes)
        if self.even_if_larger or self.energy is not None:
            return {s.name: found[s.name] or ("" if self.rank_of(s) else "no rank is small enough") for s in shapes}
        return {s.name: found[s.name] or self.no_saving(s, self.rank_of(s)) for s in shapes}

    def no_saving(self, shape: LayerShape, rank: int) -> str:
        """The reason to keep the layer dense at this rank, or an empty string."""
        if self.keep is None and self.form == "factors":
            return saves_nothing(rank, shape)
        return forms.saves_nothing(shape, rank, self.form)

    def rank_of(self, shape: LayerShape) -> int:
        """The rank that `rank` or `rank_ratio` asks for, rounded, within the layer's own."""
        if self.keep is not None:
            return forms.rank_within(shape, self.keep, self.form, self.round_to)
        full = full_rank(shape)
        wanted = self.rank if self.rank is not None else round((self.rank_ratio or 1.0) * full)
        return rounded_up(wanted, self.round_to, full)

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """r(m + n) weights for an m x n layer, r(m + n − r) in pivot form; None when data or times decide."""
        if self.energy is not None or self.min_gain is not None or self.allocation != "uniform":
            return None
        why = self.reasons(shapes)
        return [
            LayerCounts.unchanged(s, why[s.name])
            if why[s.name]
            else forms.product_counts(s, self.rank_of(s), self.form)
            for s in shapes
        ]


@dataclass(frozen=True)
class RohlicekSvd(Method):
    """Truncated SVD of linear layers with int(keep · min(m, n)) components and a bias in the inserted layer too.

    Rohlicek, 2020. Departs from the author's code in leaving all other weights as they are (there, the convolutions
    and biases start again at random); the inserted bias starts at zero, so that it changes nothing until fine-tuned.
    Every layer is factorized, also where the factors are larger than the layer.
    """

    name = "svd"
    paper = "https://github.com/crohlicek/model_size_reduction"
    knob = "keep"
    loosest = {"keep": 1.0}

    keep: float = param(0.5, "share of the singular values kept in each layer", above=0, at_most=1)
    section: str = param("fc", SECTION_DOC, choices=SECTIONS)
    skip_last: bool = param(False, SKIP_LAST_DOC)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by two, both with a bias."""
        from prunebench_methods.low_rank.low_rank_math import factorize_with_two_biases

        return factorize_with_two_biases(self, network, task)

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone; empty for those to be factorized."""
        return refusals(shapes, self.section, skip_last=self.skip_last)

    def rank_of(self, shape: LayerShape) -> int:
        """int(keep · min(m, n)), at least 1."""
        return max(1, int(self.keep * full_rank(shape)))

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts]:
        """t(m + n) weights and t + m biases for an m x n layer."""
        why = self.reasons(shapes)
        return [
            LayerCounts.unchanged(s, why[s.name]) if why[s.name] else factor_counts(s, self.rank_of(s), inner_bias=True)
            for s in shapes
        ]


@dataclass(frozen=True)
class LowRankAsRun(Method):
    """The low-rank approximation as the authors' notebooks run it, only to reproduce and explain their curves.

    Ravan and Ebanks, 2024, as coded: the singular values are dropped, so that a layer becomes U_k V_k'; where k exceeds
    the full rank the layer keeps W and is multiplied by an identity matrix besides; convolutions unfold their input.
    """

    name = "low_rank_as_run"
    paper = "https://yravan.github.io/projects/18065"

    rank: int = param(10, "components kept in every layer", at_least=1)
    section: str = param("auto", SECTION_DOC + '; "auto": convolutions if there are any', choices=("auto", *SECTIONS))
    identity: bool = param(True, "multiply by an identity matrix where the rank exceeds the layer's, as the authors do")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by products that lack the singular values."""
        from prunebench_methods.low_rank.low_rank_math import factorize_as_run

        return factorize_as_run(self, network, task)

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone; empty for those to be replaced."""
        found = refusals(shapes, auto_section(self.section, shapes), grouped=False)
        if self.identity:
            return found
        return {
            s.name: found[s.name] or (f"rank {self.rank} exceeds {full_rank(s)}" if self.rank > full_rank(s) else "")
            for s in shapes
        }

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts]:
        """k(m + n) weights, or mn + m² (of which m are not zero) where k exceeds the full rank."""
        why = self.reasons(shapes)
        return [LayerCounts.unchanged(s, why[s.name]) if why[s.name] else self._counts(s) for s in shapes]

    def _counts(self, shape: LayerShape) -> LayerCounts:
        if self.rank <= full_rank(shape):
            return factor_counts(shape, self.rank)
        m = shape.out_channels
        return LayerCounts(
            shape.name,
            shape.parameter_count + m * m,
            shape.parameter_count + m,
            shape.mac_count + m * m * shape.positions,
        )
