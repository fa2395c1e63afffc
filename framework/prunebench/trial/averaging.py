"""A moving average of a network's weights while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

WARM = 10  # the average of the first n steps keeps n / (WARM + n), so that it does not hang on the start


@dataclass
class Average:
    """Keeps `share` of itself a step; buffers of floats are averaged too, counters copied."""

    model: AveragedModel

    @classmethod
    def of(cls, network: nn.Module, share: float) -> Average | None:
        """None where nothing is averaged."""

        @torch.no_grad()
        def averaged(own: Sequence[Tensor], new: Sequence[Tensor], count: Tensor | int) -> None:
            kept = min(share, float(count) / (WARM + float(count)))
            for mine, other in zip(own, new, strict=True):
                if mine.is_floating_point():
                    mine.lerp_(other, 1 - kept)
                else:
                    mine.copy_(other)

        return cls(AveragedModel(network, multi_avg_fn=averaged, use_buffers=True)) if share else None

    @property
    def network(self) -> nn.Module:
        """With the averaged weights."""
        return self.model.module

    def take_in(self, network: nn.Module) -> None:
        """One more step's weights."""
        self.model.update_parameters(network)
