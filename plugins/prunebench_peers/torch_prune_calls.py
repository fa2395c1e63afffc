"""Calls of `torch.nn.utils.prune`."""

from __future__ import annotations

from typing import Any

from prunebench import Task
from torch import Tensor, nn
from torch.nn.utils import prune

from prunebench_peers.adapters import require
from prunebench_peers.randomness import seeded


def pruned(network: nn.Module, names: list[str], call: str, task: Task, **options: Any) -> nn.Module:
    """`network` after `torch.nn.utils.prune.<call>` on the weight of each layer, its masks made permanent."""
    with seeded(task.generator):
        for name in names:
            layer = network.get_submodule(name)
            getattr(prune, call)(layer, "weight", **options)
            prune.remove(layer, "weight")
    return network


def _weight(network: nn.Module, name: str) -> Tensor:
    weight = network.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight


def with_channels_to_spare(network: nn.Module, names: list[str], dim: int, amount: float, task: Task) -> list[str]:
    """The layers that lose at least one channel and keep one; never the classifier's outputs."""
    classifier = task.shapes[-1].name
    reasons = {name: _refusal(_weight(network, name).shape[dim], amount) for name in names}
    if dim == 0 and classifier in reasons:
        reasons[classifier] = "its outputs are the classes"
    for name, why in reasons.items():
        if why:
            task.layer(name, left_alone=why)
    return require([name for name, why in reasons.items() if not why], list(reasons.values()))


def _refusal(channels: int, amount: float) -> str:
    lost = round(amount * channels)
    return "" if 0 < lost < channels else f"{amount:g} of {channels} channels is {'none' if not lost else 'all'}"
