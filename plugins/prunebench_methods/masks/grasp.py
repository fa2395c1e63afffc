"""GraSP: pruning before training so that the gradient keeps its norm."""

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
class Grasp(AtStart):
    """Before training, keep the weights without which the gradient's norm would fall most (Wang, Zhang, Grosse, 2020).

    That is weight · (Hessian · gradient), outputs divided by 200 as in the authors' code; of the first training
    samples, where the paper draws ten of each class.
    """

    name = "grasp"
    paper = "https://arxiv.org/abs/2002.07376"

    samples: int = param(256, SAMPLES, at_least=1)

    def masks(self, network: nn.Module, layers: Sequence[Layer], task: Task) -> list[Tensor]:
        """The largest of all layers together."""
        from prunebench_methods.shared.masking import global_masks
        from prunebench_methods.shared.saliency import gradient_flow

        return global_masks(gradient_flow(network, layers, task, self.samples), self.keep)
