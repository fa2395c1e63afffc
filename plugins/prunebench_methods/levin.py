"""Principal components pruning, the ancestor of data-aware low rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.low_rank import SECTION_DOC, SKIP_LAST_DOC
from prunebench_methods.pca import has_closed_form, no_saving, projection_counts
from prunebench_methods.selection import SECTIONS, refusals, require_one, rounded_up

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PrincipalComponentsPruning(Method):
    """From input to output, drop the directions of each layer's inputs that matter least to its linear response.

    Levin, Leen and Moody, 1993: the directions are eigenvectors of the inputs' correlation matrix, which is taken from
    the already pruned network; what a direction matters is its eigenvalue times the squared response to it. With
    `tolerance` directions go while the validation error does not rise by more. Departs from the paper in storing the
    projected weight as two factors, without which nothing would be smaller; in finding the number of directions by
    bisection; and, for convolutions, in projecting channels.
    """

    name = "principal_components_pruning"
    paper = "https://papers.nips.cc/paper_files/paper/1993/hash/872488f88d1b2db54d55bc8bba2fad1b-Abstract.html"
    knob = "rank_ratio"
    example = {"rank_ratio": 0.25}
    loosest = {"rank_ratio": 1.0, "even_if_larger": True}

    rank: int | None = param(None, "directions kept of every input", at_least=1)
    rank_ratio: float | None = param(None, "directions kept, as a share of the input's channels", above=0, at_most=1)
    tolerance: float | None = param(None, "rise of the validation error that a layer may cause", at_least=0, at_most=1)
    centred: bool = param(False, "take the mean out of the inputs and put its response into the bias")
    section: str = param("fc", SECTION_DOC, choices=SECTIONS)
    round_to: int = param(1, "ranks are rounded up to a multiple of this", at_least=1)
    skip_last: bool = param(False, SKIP_LAST_DOC)
    even_if_larger: bool = param(False, "project also where that saves no weights")

    def check(self) -> None:
        """Exactly one way to choose the rank."""
        require_one(rank=self.rank, rank_ratio=self.rank_ratio, tolerance=self.tolerance)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by a projection and a narrower layer; those that would not shrink stay."""
        from prunebench_methods.levin_math import drop_directions

        return drop_directions(self, network, task)

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone, as far as the settings decide; empty for those to be projected."""
        found = refusals(shapes, self.section, grouped=False, skip_last=self.skip_last)
        if self.tolerance is None and not self.even_if_larger:
            return {s.name: found[s.name] or no_saving(self.rank_of(s), s) for s in shapes}
        return found

    def rank_of(self, shape: LayerShape) -> int:
        """The rank that `rank` or `rank_ratio` asks for, rounded, within the input's channels."""
        wanted = self.rank if self.rank is not None else round((self.rank_ratio or 1.0) * shape.in_channels)
        return rounded_up(wanted, self.round_to, shape.in_channels)

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """r(m + n) weights for a linear m x n layer; None when the error decides."""
        why = self.reasons(shapes)
        if self.tolerance is not None or not all(why[s.name] or has_closed_form(s) for s in shapes):
            return None
        return [
            LayerCounts.unchanged(s, why[s.name])
            if why[s.name]
            else projection_counts(s, self.rank_of(s), centred=self.centred)
            for s in shapes
        ]
