"""Magnitude pruning while the network trains: the share of zeros rises step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import SCOPES, evenly_masked_counts, masked_counts
from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class GradualMagnitude(Method):
    """Zero the smallest weights during one fine-tuning, fast at first and slower towards the end (Zhu, Gupta, 2018).

    After t of the n steps in which pruning goes on, keep + (1 - keep)(1 - t/n)³ of the weights are left. A zero stays
    one, where the paper's masks let weights return.
    """

    name = "gradual_magnitude"
    paper = "https://arxiv.org/abs/1710.01878"
    trains = True
    knob = "keep"
    example = {"keep": 0.3, "steps": 8, "every": 2}

    keep: float = param(0.1, "share of the weights that survive", above=0, at_most=1)
    steps: int = param(1000, "optimizer steps of fine-tuning, the fine-tuning recipe's in all else", at_least=1)
    every: int = param(50, "steps between two masks", at_least=1)
    pruned_by: float = param(0.75, "share of the steps after which no weight is zeroed any more", above=0, at_most=1)
    scope: str = param("layer", "the share is of every weight tensor, or of all together", choices=SCOPES)
    section: str = param("all", "layers that are masked", choices=SECTIONS)

    def share(self, step: int) -> float:
        """What is kept after `step` steps."""
        last = max(1, round(self.pruned_by * self.steps))
        return self.keep if step >= last else self.keep + (1 - self.keep) * (1 - step / last) ** 3

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` masked while it trains, in place."""
        from prunebench_methods.masks.gradual_math import pruned_gradually

        return pruned_gradually(self, network, task)

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Those of `magnitude`."""
        spread = evenly_masked_counts if self.scope == "global" else masked_counts
        return spread(shapes, self.section, self.keep)

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`)."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
