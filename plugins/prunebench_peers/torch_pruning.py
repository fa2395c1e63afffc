"""Torch-Pruning: channels removed along the dependency graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Method, Task, param

from prunebench_peers.adapters import adapter

if TYPE_CHECKING:
    from torch import nn

IMPORTANCES = ("magnitude", "lamp", "fpgm", "taylor")


@dataclass(frozen=True)
class TorchPruning(Method):
    """Torch-Pruning's `BasePruner`: groups of coupled channels removed by importance (Fang et al., 2023).

    The classifier's outputs are kept. `taylor` takes its gradients from one pass over the calibration samples with the
    network's own answers as labels.
    """

    name = "peer_torch_pruning"
    paper = "https://arxiv.org/abs/2301.12900"

    ratio: float = param(0.5, "share of channels removed", above=0, below=1)
    importance: str = param("magnitude", "what ranks the groups", choices=IMPORTANCES)
    norm: int = param(2, "of the norms that rank: 1 or 2", choices=(1, 2))
    everywhere: bool = param(False, "rank the channels of all layers together")
    steps: int = param(1, "rounds in which the ratio is reached", at_least=1, at_most=100)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with fewer channels."""
        calls = adapter("torch_pruning_calls", "torch-pruning")
        shrunk: nn.Module = calls.shrunk(network, task, self)
        return shrunk


@dataclass(frozen=True)
class TorchPruningRandom(TorchPruning):
    """Torch-Pruning with random importance: a control."""

    name = "peer_torch_pruning_random"
    stochastic = True

    importance: str = param("random", "what ranks the groups", choices=("random",))


METHODS: list[type[Method]] = [TorchPruning, TorchPruningRandom]
