"""Narrower MLPs inside transformer blocks, the rest refitted to answer as before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Method, Task, param

from prunebench_methods.blocks.fields import REFIT, RIDGE, repair_param
from prunebench_methods.shared.allocation import allocation_param

if TYPE_CHECKING:
    from torch import nn

WIDTH = "share of each MLP's inner channels that is kept, rounded up"
ROUND = "inner widths are rounded up to a multiple of this"


@dataclass(frozen=True)
class _Width(Method):
    """What the method and its control share."""

    paper = "https://arxiv.org/abs/2408.09632"
    loosest = {"keep": 1.0}
    example = {"keep": 0.5}
    criterion: ClassVar[str]

    keep: float = param(0.8, WIDTH, above=0, at_most=1)
    round_to: int = param(1, ROUND, at_least=1)
    refit: bool = param(True, REFIT)
    ridge: float = param(1e-6, RIDGE, above=0)
    allocation: str = allocation_param()
    repair_mean: bool = repair_param()

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same modules, with fewer inner channels; declines where no MLP of a transformer block is known."""
        from prunebench_methods.blocks.mlp_width_math import narrow

        return narrow(self, network, task)

    def width(self, whole: int, keep: float | None = None) -> int:
        """Channels kept of so many; `keep` instead of the one of the settings."""
        wanted = math.ceil((self.keep if keep is None else keep) * whole - 1e-9)
        return min(whole, -(-wanted // self.round_to) * self.round_to)


@dataclass(frozen=True)
class MlpWidth(_Width):
    """Keeps the inner channels of each MLP whose activations weigh most, and refits the layer that reads them.

    The refit is part I of MoDeGPT (Lin et al., 2024): with C the second moment of the inner activations and S the kept
    channels, W_down becomes W_down C[:, S] (C[S, S])⁻¹, the least-squares answer to what the whole MLP answered. It
    departs from the paper in the score: root mean square of a channel times the norm of the weights that read it
    ("activation"), which was found to choose as well as ridge leverage, theirs ("leverage"). "fluctuation" takes the
    standard deviation instead, as An et al. do (FLAP, 2023); with `repair_mean` and without the refit it is their
    method at one share in all layers, and with both what is refitted are deviations from the mean. Statistics are of
    the dense network. No matrix is added: a model of the same kind, narrower, and as fast as its shapes allow.
    """

    name = "mlp_width"
    score: str = param("activation", "how channels are chosen", choices=("activation", "leverage", "fluctuation"))

    @property
    def criterion(self) -> str:  # type: ignore[override]
        """How channels are chosen."""
        return self.score


@dataclass(frozen=True)
class MlpWidthRandom(_Width):
    """Keeps random inner channels of each MLP, refitted the same way: what choosing them is worth, and what not."""

    name = "mlp_width_random"
    control = True
    stochastic = True
    criterion = "random"
