"""SNIP: pruning before training by what the loss feels of each weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Task, param

from prunebench_methods.masks.at_start import SAMPLES, AtStart

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prunebench_methods.shared.replace import Layer


@dataclass(frozen=True)
class Snip(AtStart):
    """Before training, keep the weights of largest |weight · gradient| (Lee, Ajanthan and Torr, 2019).

    The gradient is that of the first training samples' mean loss, where the paper takes one random batch; batch norms
    are as they are initialised.
    """

    name = "snip"
    paper = "https://arxiv.org/abs/1810.02340"

    samples: int = param(512, SAMPLES, at_least=1)

    def masks(self, network: nn.Module, layers: Sequence[Layer], task: Task) -> list[Tensor]:
        """The largest of all layers together."""
        from prunebench_methods.shared.masking import global_masks
        from prunebench_methods.shared.saliency import connection_sensitivity

        return global_masks(connection_sensitivity(network, layers, task, self.samples), self.keep)
