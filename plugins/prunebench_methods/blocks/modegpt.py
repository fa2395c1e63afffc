"""Decomposition by modules: MLPs and attentions of transformers in smaller shapes, without an extra matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Method, Task, param

from prunebench_methods.blocks.mlp_width import MlpWidth, MlpWidthRandom
from prunebench_methods.shared.allocation import ALLOCATION_DOC

if TYPE_CHECKING:
    from torch import nn

ALLOCATIONS = ("uniform", "influence")


@dataclass(frozen=True)
class _Modules(Method):
    """What both methods share."""

    loosest = {"keep": 1.0}
    example = {"keep": 0.5}
    narrows_mlps: ClassVar[bool]
    draws: ClassVar[bool] = False  # dimensions of heads, as a control does

    keep: float = param(
        0.8, "share of the dimensions of every head that is kept, and of an MLP's channels", above=0, at_most=1
    )
    round_to: int = param(
        2, "dimensions of a head are rounded up to a multiple of this; even, where they rotate", at_least=2
    )
    allocation: str = param("uniform", ALLOCATION_DOC, choices=ALLOCATIONS)

    def check(self) -> None:
        """Pairs of dimensions rotate together."""
        if self.round_to % 2:
            raise ValueError(f"round_to must be even, got {self.round_to}: dimensions of a head rotate in pairs")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same blocks with narrower heads; declines where no attention of a transformer block is known."""
        from prunebench_methods.blocks.modegpt_math import narrow_modules

        return narrow_modules(self, network, task)


@dataclass(frozen=True)
class ModeGpt(_Modules):
    """Narrows MLPs by Nyström and attention by joint decompositions of maps that belong together (Lin et al., 2024).

    Part I is `mlp_width` by ridge leverage, with its refit. Part II keeps in each head the pairs of rotated dimensions
    whose queries and keys weigh most, with their angles, the same for all queries that share a key; without rotation it
    is the best product of that rank. Part III is the best product of values and outputs. Departs from the paper in
    inverses: none of an input's moment is taken, so that few samples and dead inputs do no harm.
    """

    name = "modegpt"
    paper = "https://arxiv.org/abs/2408.09632"
    narrows_mlps = True

    ridge: float = param(
        1e-6, "ridge of the MLP's refit, as a share of the mean of the Gram matrix's diagonal", above=0
    )

    def mlps(self, keep: float) -> MlpWidth:
        """Part I as a method, at this share."""
        return MlpWidth(keep=keep, score="leverage", ridge=self.ridge)


@dataclass(frozen=True)
class ModeGptRandom(_Modules):
    """Keeps random dimensions in every head and random channels in every MLP: what choosing them is worth.

    The shapes are those of `modegpt`. MLPs are refitted as there; of a head, dimensions stay as they are or go.
    """

    name = "modegpt_random"
    narrows_mlps = True
    draws = True
    control = True
    stochastic = True

    ridge: float = param(
        1e-6, "ridge of the MLP's refit, as a share of the mean of the Gram matrix's diagonal", above=0
    )

    def mlps(self, keep: float) -> MlpWidthRandom:
        """The MLPs' part as a method, at this share."""
        return MlpWidthRandom(keep=keep, ridge=self.ridge)


@dataclass(frozen=True)
class AttentionSvd(_Modules):
    """Narrower heads alone: the best products of rank k of queries with keys and of values with outputs.

    Parts II and III of MoDeGPT (Lin et al., 2024), for vision transformers as well, whose heads do not rotate: both
    products then are truncated singular value decompositions in the metric of what the attention reads, with biases.
    """

    name = "attention_svd"
    paper = "https://arxiv.org/abs/2408.09632"
    narrows_mlps = False


@dataclass(frozen=True)
class AttentionRandom(_Modules):
    """Keeps random dimensions in every head, where heads rotate random pairs of them: the control of `attention_svd`.

    Queries and keys keep the same dimensions, as do values and outputs; those that stay are left as they are.
    """

    name = "attention_random"
    narrows_mlps = False
    draws = True
    control = True
    stochastic = True
