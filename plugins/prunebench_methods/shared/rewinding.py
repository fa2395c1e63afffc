"""Back to a network's beginning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench import NotApplicable, Task
from torch import Tensor, nn


def beginning(network: nn.Module, task: Task, step: int = 0) -> dict[str, Tensor]:
    """What the network held after so many optimizer steps; raises `NotApplicable` where a stage changed its layers."""
    start = task.rewound(step)
    if _shapes(start) != _shapes(network.state_dict()):
        raise NotApplicable("the network no longer has the layers that it was initialised with")
    return start


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    """Of tensors; a module's extra state may be anything."""
    return {name: value.shape for name, value in state.items() if isinstance(value, Tensor)}
