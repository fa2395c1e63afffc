"""Whole attention heads left out, the rest refitted to answer as before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Method, Task, param

from prunebench_methods.blocks.fields import REFIT, RIDGE, repair_param
from prunebench_methods.shared.allocation import allocation_param

if TYPE_CHECKING:
    from torch import nn

SCORE = "how heads are chosen: by second moments of their outputs, or by variances"
KEEP = "share of each attention's key-value heads that is kept, rounded up, with the queries that read them"


@dataclass(frozen=True)
class _Heads(Method):
    """What the method and its control share."""

    loosest = {"keep": 1.0}
    example = {"keep": 0.5}
    criterion: ClassVar[str]

    keep: float = param(0.75, KEEP, above=0, at_most=1)
    refit: bool = param(True, REFIT)
    ridge: float = param(1e-6, RIDGE, above=0)
    allocation: str = allocation_param()
    repair_mean: bool = repair_param()

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same modules, with fewer heads; declines where no attention has a layer each for its four maps."""
        from prunebench_methods.blocks.heads_math import fewer_heads

        return fewer_heads(self, network, task)

    def count(self, groups: int, keep: float | None = None) -> int:
        """Key-value heads kept of so many; `keep` instead of the one of the settings."""
        return min(groups, math.ceil((self.keep if keep is None else keep) * groups - 1e-9))


@dataclass(frozen=True)
class Heads(_Heads):
    """Keeps the attention heads whose outputs weigh most, and refits the layer that reads them.

    An, Zhao, Yu, Tang and Wang (FLAP, 2023) score an input of the output layer by its variance times the squared norm
    of the weights that read it, and let a bias answer what is left out: `score = "fluctuation"`, `repair_mean` and no
    refit, here at one share in all attentions. The defaults take the second moment and refit by least squares, which
    loses less on the calibration data; with `repair_mean`, too, deviations from the mean are refitted. Where several
    queries share a key and a value, all of them stay or go together, so that grouped attention stays grouped alike.
    """

    name = "heads"
    paper = "https://arxiv.org/abs/2312.11983"
    score: str = param("activation", SCORE, choices=("activation", "fluctuation"), additive=True)

    @property
    def criterion(self) -> str:  # type: ignore[override]
        """How heads are chosen."""
        return self.score


@dataclass(frozen=True)
class HeadsRandom(_Heads):
    """Keeps random attention heads, refitted the same way."""

    name = "heads_random"
    control = True
    stochastic = True
    criterion = "random"
