"""Back to a network's beginning."""

from __future__ import annotations

from prunebench import NotApplicable, Task
from torch import Tensor, nn


def beginning(network: nn.Module, task: Task, step: int = 0) -> dict[str, Tensor]:
    """What the network held after so many optimizer steps; raises `NotApplicable` where a stage changed its layers."""
    start = task.rewound(step)
    if {name: value.shape for name, value in start.items()} != {n: v.shape for n, v in network.state_dict().items()}:
        raise NotApplicable("the network no longer has the layers that it was initialised with")
    return start
