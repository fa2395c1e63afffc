"""Principal components pruning, the ancestor of data-aware low rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Task, param

from prunebench_methods.low_rank.projection import InputProjection
from prunebench_methods.shared.selection import require_one

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PrincipalComponentsPruning(InputProjection):
    """From input to output, drop the directions of each layer's inputs that matter least to its linear response.

    Levin, Leen and Moody, 1993: the directions are eigenvectors of the inputs' correlation matrix, which is taken from
    the already pruned network; what a direction matters is its eigenvalue times the squared response to it. With
    `tolerance` directions go while the validation error does not rise by more. Departs from the paper in storing the
    projected weight as two factors, without which nothing would be smaller; in finding the number of directions by
    bisection; and, for convolutions, in projecting channels.
    """

    name = "principal_components_pruning"
    paper = "https://papers.nips.cc/paper_files/paper/1993/hash/872488f88d1b2db54d55bc8bba2fad1b-Abstract.html"

    tolerance: float | None = param(None, "rise of the validation error that a layer may cause", at_least=0, at_most=1)
    centred: bool = param(False, "take the mean out of the inputs and put its response into the bias")

    def check(self) -> None:
        """Exactly one way to choose the rank."""
        require_one(rank=self.rank, rank_ratio=self.rank_ratio, tolerance=self.tolerance, keep=self.keep)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by a projection and a narrower layer; those that would not shrink stay."""
        from prunebench_methods.low_rank.levin_math import drop_directions

        return drop_directions(self, network, task)

    @property
    def measured(self) -> bool:
        """Whether the tolerance decides."""
        return self.tolerance is not None
