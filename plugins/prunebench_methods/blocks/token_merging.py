"""Fewer tokens from block to block of a vision transformer: pairs that look alike become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Method, Task, param

from prunebench_methods.shared.selection import require_one

if TYPE_CHECKING:
    from torch import nn

TOKENS = "tokens that every block merges into others; at most half of those that may be merged"
SHARE = "share of the tokens that may be merged which every block merges, rounded down"
WEIGHTED = "attention counts a merged token as often as there are tokens in it"


@dataclass(frozen=True)
class _Merging(Method):
    """What the method and its control share."""

    example = {"share": 0.25}
    loosest = {"tokens": 0}
    draws: ClassVar[bool] = False

    tokens: int | None = param(None, TOKENS, at_least=0)
    share: float | None = param(None, SHARE, at_least=0, at_most=0.5)
    weighted: bool = param(True, WEIGHTED)

    def check(self) -> None:
        """Exactly one way to say how many."""
        require_one(tokens=self.tokens, share=self.share)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same weights on fewer tokens; declines where blocks are unknown or the head reads more than a prefix."""
        from prunebench_methods.blocks.token_merging_math import merging

        return merging(self, network, task)

    def count(self, mergeable: int) -> int:
        """How many of so many tokens are merged in one block."""
        wanted = self.tokens if self.tokens is not None else int((self.share or 0) * mergeable + 1e-9)
        return min(wanted, mergeable // 2)


@dataclass(frozen=True)
class TokenMerging(_Merging):
    """Merges tokens whose keys look alike, between attention and MLP of every block (ToMe: Bolya et al., 2022).

    Tokens are split in two by turns; each of the first set has its most similar one in the second, by the cosine of
    their keys (the mean over heads), and the most similar pairs become one token: the mean, weighted by how many
    tokens are in each. Class tokens are never merged. No weight changes and none goes: products become fewer, so that
    the network is faster and stored as before. No closed form by layers says how many products attention is spared,
    so that the method takes no target; its row has the products counted. Departs from the paper's code in adding pairs
    up by a product with a matrix of zeros and ones, which is counted. Dropout inside of attention is left out.
    """

    name = "token_merging"
    paper = "https://arxiv.org/abs/2210.09461"


@dataclass(frozen=True)
class TokenMergingRandom(_Merging):
    """Merges as many tokens at random places, the same ones of every image: what the choice of pairs is worth."""

    name = "token_merging_random"
    control = True
    stochastic = True
    draws = True
