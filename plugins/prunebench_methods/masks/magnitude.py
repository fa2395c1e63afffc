"""Magnitude pruning: the weights nearest to zero become zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Task, param

from prunebench_methods.masks.mask import SPREAD, SPREAD_DOC, Mask

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

    scope: str = param("layer", f"{SPREAD_DOC}; or by LAMP scores (lamp: Lee et al., 2021)", choices=(*SPREAD, "lamp"))

    def scores(self, weights: list[Tensor], task: Task) -> list[Tensor]:
        """Absolute values; of LAMP, squares over the sum of all squares of the layer that are not smaller."""
        if self.scope == "lamp":
            from prunebench_methods.shared.masking import lamp_scores

            return [lamp_scores(weight) for weight in weights]
        return [weight.abs() for weight in weights]
