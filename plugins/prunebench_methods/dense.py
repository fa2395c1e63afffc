"""The network as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task

if TYPE_CHECKING:
    from torch import nn

WHY = "dense: nothing is pruned"


@dataclass(frozen=True)
class Dense(Method):
    """The unpruned network: what every ratio is measured against."""

    name = "dense"
    control = True

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The network itself."""
        for shape in task.shapes:
            task.layer(shape.name, left_alone=WHY)
        return network

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts]:
        """Every layer unchanged."""
        return [LayerCounts.unchanged(shape, WHY) for shape in shapes]
