"""Random pruning: what any choice of weights has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Task

from prunebench_methods.masks.mask import Mask

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Random(Mask):
    """Zero weights drawn at random, as many as `magnitude` would (the control of Blalock et al., 2020)."""

    name = "random"
    paper = "https://arxiv.org/abs/2003.03033"
    stochastic = True
    control = True

    def scores(self, weights: list[Tensor], task: Task) -> list[Tensor]:
        """A random order, drawn from the task's generator."""
        from prunebench_methods.shared.masking import random_scores

        return random_scores(weights, task.generator, together=self.scope == "global")
