"""Whole blocks of a transformer left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Method, Task, param

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class _Drop(Method):
    """What the method and its control share."""

    example = {"drop": 1}
    loosest = {"drop": 0}
    criterion: ClassVar[str]

    drop: int = param(1, "blocks that are left out", at_least=0)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The network with fewer blocks; declines where its blocks are not known or none would be left."""
        from prunebench_methods.blocks.drop_blocks_math import without_blocks

        return without_blocks(self, network, task)


@dataclass(frozen=True)
class DropBlocks(_Drop):
    """Leaves out the blocks that change the residual stream least.

    Men et al. (ShortGPT, 2024): "influence" is 1 minus the mean cosine between what goes into a block and what comes
    out, over all positions, and the lowest blocks go. "angular" is the form of Gromov et al. (2024): the run of blocks
    whose input and output have the smallest angle, at the last position where the network is causal. Nothing is
    retrained. It is as much faster as there are fewer blocks: the control for every method that promises speed.
    """

    name = "drop_blocks"
    paper = "https://arxiv.org/abs/2403.03853"
    score: str = param("influence", "how blocks are chosen", choices=("influence", "angular"))

    @property
    def criterion(self) -> str:  # type: ignore[override]
        """How blocks are chosen."""
        return self.score


@dataclass(frozen=True)
class DropBlocksRandom(_Drop):
    """Leaves out random blocks."""

    name = "drop_blocks_random"
    control = True
    stochastic = True
    criterion = "random"
