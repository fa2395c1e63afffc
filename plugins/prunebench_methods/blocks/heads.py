"""Whole attention heads left out, the rest refitted to answer as before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Method, Task, param

from prunebench_methods.shared.allocation import allocation_param

if TYPE_CHECKING:
    from torch import nn

KEEP = "share of each attention's key-value heads that is kept, rounded up, with the queries that read them"
REFIT = "refit the layer that reads the heads, by least squares on calibration data"
RIDGE = "ridge of the refit, as a share of the mean of the Gram matrix's diagonal"


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
    of the weights that read it. This method takes the second moment, gives all attentions one share, and refits by
    least squares instead of a bias. Where several queries share a key and a value, all of them stay or
    go together, so that grouped attention stays grouped alike.
    """

    name = "heads"
    paper = "https://arxiv.org/abs/2312.11983"
    criterion = "activation"


@dataclass(frozen=True)
class HeadsRandom(_Heads):
    """Keeps random attention heads, refitted the same way."""

    name = "heads_random"
    control = True
    stochastic = True
    criterion = "random"
