"""The test split once more, its images corrupted: accuracy where data are not what they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Metric, Split, param

if TYPE_CHECKING:
    import torch
    from torch import nn

KINDS = ("noise", "blur", "contrast", "jpeg")


@dataclass(frozen=True)
class Corruptions(Metric):
    """Top-1 accuracy on the test images with noise, blur, little contrast, or JPEG's traces, and dense beside it.

    The kinds and their idea are those of Hendrycks and Dietterich (2019); strengths are fixed here, so that numbers
    are not theirs. What is drawn is the same for every network. JPEG is for images of 1 or 3 channels.
    """

    name = "corruptions"
    paper = "https://arxiv.org/abs/1903.12261"
    objectives = ("classification",)
    units = {
        **dict.fromkeys(KINDS, "fraction"),
        **{f"dense_{kind}": "fraction" for kind in KINDS},
        **{"mean": "fraction", "dense_mean": "fraction"},
    }
    drawing: int = param(0, "seed of the noise", at_least=0)

    def measure(self, network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> Mapping[str, float]:
        """Accuracy by kind, and the means over the kinds."""
        from prunebench_metrics.corruptions_math import accuracies

        return accuracies((network, dense), test, device, self.drawing, KINDS)
