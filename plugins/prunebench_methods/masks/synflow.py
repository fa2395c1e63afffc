"""SynFlow: pruning before training without looking at data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Task, param

from prunebench_methods.masks.at_start import AtStart

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prunebench_methods.shared.replace import Layer


@dataclass(frozen=True)
class SynFlow(AtStart):
    """Before training and without data, keep the weights that most flow runs through (Tanaka et al., 2020).

    Flow is the sum of the outputs for an input of ones, all parameters at their absolute values; what carries least of
    it goes in rounds that each keep the same share of what is left.
    """

    name = "synflow"
    paper = "https://arxiv.org/abs/2006.05467"

    rounds: int = param(100, "times of scoring and masking", at_least=1, at_most=1000)

    def masks(self, network: nn.Module, layers: Sequence[Layer], task: Task) -> list[Tensor]:
        """Those of the last round."""
        from prunebench_methods.shared.saliency import synaptic_flow

        return synaptic_flow(network, layers, task, self.keep, self.rounds)
