"""A detector that trains in seconds on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Model, param

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class GridDetector(Model):
    """Five convolutions on 1×32×32, the last of which says what each of 8×8 cells sees: a box and a logit a class."""

    name = "grid_detector"
    objectives = ("detection",)
    input_shape = (1, 32, 32)
    width: int = param(24, "channels of the first convolution; the three behind it have twice as many", at_least=1)

    def build(self, outputs: int) -> nn.Module:
        """A network that returns `{"boxes": (B, 64, 4), "logits": (B, 64, outputs)}`."""
        from prunebench_models.detector_layers import GridDetectorNet

        return GridDetectorNet(outputs, self.width)


MODELS: list[type[Model]] = [GridDetector]
