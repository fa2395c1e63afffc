"""Magnitude pruning in rounds, with training in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import SCOPES, evenly_masked_counts, masked_counts, weight_refusals
from prunebench_methods.shared.exact import share_after
from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class IterativeMagnitude(Method):
    """Zero the smallest weights a share at a time and retrain after every round (Han, Pool, Tran, Dally, 2015).

    Every round keeps the same share of what is left. Retrains by the protocol's fine-tuning recipe, `epochs` of it a
    round where given; without the paper's lower dropout, since the recipe says how a network is trained.
    """

    name = "iterative_magnitude"
    paper = "https://arxiv.org/abs/1506.02626"
    trains = True
    knob = "keep"

    keep: float = param(0.1, "share of the weights that survive the last round", above=0, at_most=1)
    rounds: int = param(3, "times of pruning and retraining", at_least=1, at_most=100)
    epochs: int = param(0, "epochs of retraining a round; 0 for the fine-tuning recipe's own", at_least=0)
    scope: str = param("layer", "the share is of every weight tensor, or of all together", choices=SCOPES)
    section: str = param("all", "layers that are masked", choices=SECTIONS)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` masked and retrained in place."""
        from prunebench_methods.shared import masking

        layers = masking.writable_layers(network, task, weight_refusals(task.shapes, self.section))
        trained = True
        for done in range(1, self.rounds + 1):
            keep = share_after(done, self.rounds, self.keep)
            masking.apply(layers, masking.magnitude_masks(layers, keep, self.scope), task)
            trained = bool(task.fit(network, **({"epochs": self.epochs} if self.epochs else {}))) and trained
        if not trained:
            task.note("not retrained: the fine-tuning recipe has no epochs, and none were given")
        return network

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Those of `magnitude`: what a round zeroes stays zero."""
        spread = evenly_masked_counts if self.scope == "global" else masked_counts
        return spread(shapes, self.section, self.keep)

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`)."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
