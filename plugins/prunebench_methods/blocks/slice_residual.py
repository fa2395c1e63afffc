"""A narrower residual stream: transformers rotated to its principal directions, and the least of them cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Method, Task, param

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class _Slice(Method):
    """What the method and its control share."""

    loosest = {"keep": 1.0}
    example = {"keep": 0.75}
    draws: ClassVar[bool] = False

    keep: float = param(0.8, "share of the residual stream's width that is kept", above=0, at_most=1)
    round_to: int = param(8, "widths are rounded down to a multiple of this, if that leaves any", at_least=1)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same blocks on a narrower stream; declines where not all that reads and writes it is known."""
        from prunebench_methods.blocks.slice_residual_math import sliced

        return sliced(self, network, task)

    def width(self, whole: int) -> int:
        """Directions kept of so many."""
        wanted = int(self.keep * whole + 1e-9)
        return whole if self.keep == 1 else wanted // self.round_to * self.round_to or max(1, wanted)


@dataclass(frozen=True)
class SliceResidual(_Slice):
    """Rotate the residual stream to its principal directions and cut the last of them (Ashkboos et al., 2024).

    Norms are folded into the layers that read behind them, which leaves the answers as they are; then all that reads
    the stream is rotated, and all that writes to it is rotated back. Departs from the paper in one rotation for the
    whole stream, where the paper has one for each place and a matrix more for each crossing: no matrix is added, and
    a model of the same kind stays. Each place counts alike in it, its inputs as the norm has them. A tied head is
    untied, for norms are folded into it: a network with a large vocabulary can have more parameters than before.
    There is no `allocation`: what one block adds to the stream all later ones read, so that blocks have one width
    unless a matrix stands at each crossing, or unless the stream stays as wide as its widest block needs.
    """

    name = "slice_residual"
    paper = "https://arxiv.org/abs/2401.15024"


@dataclass(frozen=True)
class SliceResidualRandom(_Slice):
    """Rotates the residual stream at random and cuts the last directions: what the principal ones are worth."""

    name = "slice_residual_random"
    control = True
    stochastic = True
    draws = True
