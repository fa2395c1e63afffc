"""How far the pruned language model's next-token distribution is from the dense one's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Metric, Split

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class TokenDivergence(Metric):
    """Mean KL(dense‖pruned) over scored tokens, and the share of them on which both would say the same first.

    Two models of one perplexity can answer differently (Dutta et al., 2024); a few thousand tokens tell them apart.
    Both networks run side by side, a few windows at a time: the logits of all are never held at once.
    """

    name = "token_divergence"
    paper = "https://arxiv.org/abs/2407.09141"
    objectives = ("language_modelling",)
    units = {"kl": "nats", "same_first": "fraction", "tokens": "tokens"}

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """`kl`, `same_first` and `tokens` over all of `test`."""
        from prunebench_metrics.divergence_math import divergence

        return divergence(network, dense, test, device)
