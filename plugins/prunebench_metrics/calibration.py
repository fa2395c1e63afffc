"""How far probabilities can be believed, and who pays for pruning: numbers that logits tell beyond accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Metric, Split, param

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Calibration(Metric):
    """Expected calibration error, negative log-likelihood and Brier score, of the pruned network and of the dense one.

    The error is the mean distance of confidence and accuracy over bins of equal width (Guo et al., 2017).
    """

    name = "calibration"
    paper = "https://arxiv.org/abs/1706.04599"
    objectives = ("classification",)
    units = {
        **{"ece": "fraction", "nll": "nats", "brier": "fraction"},
        **{"dense_ece": "fraction", "dense_nll": "nats", "dense_brier": "fraction"},
    }
    bins: int = param(15, "bins of confidence, of equal width", at_least=1)

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """`ece`, `nll` and `brier` (the sum over classes, in [0, 2]), and the same of the dense network."""
        from prunebench_metrics.logits_math import answers, calibration

        logits, labels = answers((network, dense), test, device)
        own, other = (calibration(each, labels, self.bins) for each in logits)
        return {**own, **{f"dense_{name}": value for name, value in other.items()}}


@dataclass(frozen=True)
class ClassDrops(Metric):
    """Which classes pay for pruning: the accuracy that the worst-hit class loses, and the worst class's accuracy.

    A mean can hide that a few classes bear the loss (Hooker et al., 2019).
    """

    name = "class_drops"
    paper = "https://arxiv.org/abs/1911.05248"
    objectives = ("classification",)
    units = {
        **{"largest_drop": "fraction", "largest_drop_class": "class", "drop_deviation": "fraction"},
        **{"worst_class_accuracy": "fraction", "worst_class": "class", "dense_worst_class_accuracy": "fraction"},
    }

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """Over the classes that the test has; `drop_deviation` is the standard deviation of their drops."""
        from prunebench_metrics.logits_math import answers, class_drops

        logits, labels = answers((network, dense), test, device)
        return class_drops(logits[0], logits[1], labels)


@dataclass(frozen=True)
class Divergence(Metric):
    """Mean KL(dense‖pruned) of the class probabilities over the test samples."""

    name = "divergence"
    objectives = ("classification",)
    units = {"kl": "nats"}

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """`kl`, at least 0."""
        from prunebench_metrics.logits_math import answers, divergence

        logits, _ = answers((network, dense), test, device)
        return {"kl": divergence(logits[0], logits[1])}
