"""Magnitude pruning: the weights nearest to zero become zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Task

from prunebench_methods.masks.mask import Mask

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Magnitude(Mask):
    """Zero the weights of smallest absolute value (Han, Pool, Tran, Dally, 2015; the counts of Rohlicek, 2020).

    Departs from Han in thresholds (an exact count instead of a multiple of the standard deviation) and in doing one
    round: see `iterative_magnitude` for the rounds.
    """

    name = "magnitude"
    paper = "https://arxiv.org/abs/1506.02626"

    def scores(self, weights: list[Tensor], task: Task) -> list[Tensor]:
        """Absolute values."""
        return [weight.abs() for weight in weights]
