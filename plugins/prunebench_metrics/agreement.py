"""How far the pruned network answers as the dense one does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Metric, Split

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Agreement(Metric):
    """Share of samples on which both predict the same class, and the mean absolute difference of their logits.

    Two networks of equal accuracy can be right on different samples; this tells them apart (Hooker et al., 2019).
    """

    name = "agreement"
    paper = "https://arxiv.org/abs/1911.05248"
    objectives = ("classification",)
    units = {"top1": "fraction", "logit_distance": "logit"}

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """`top1` and `logit_distance` over all of `test`."""
        from prunebench_metrics import agreement_math

        return agreement_math.agreement(network, dense, test, device)
