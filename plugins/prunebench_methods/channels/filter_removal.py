"""Ranking the filters of groups of layers, and taking out the lowest.

Letters: a filter is a row of a writer's weight (C, n), C channels of the group.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.channels.channel_graph import ChannelGraph, Group, channel_graph, in_its_type
from prunebench_methods.channels.channel_removal import Shrinking
from prunebench_methods.shared.replace import refuse_if_unusable
from prunebench_methods.shared.selection import rounded_up


class Removal(NamedTuple):
    """How many filters stay, and by what."""

    keep: float
    criterion: str
    round_to: int
    shared: bool

    def width(self, channels: int) -> int:
        """Channels kept of so many."""
        return rounded_up(math.ceil(self.keep * channels - 1e-9), self.round_to, channels)


def without_lowest(network: nn.Module, task: Task, removal: Removal) -> nn.Module:
    """`network`, narrower in place."""
    groups = removable(network, task, removal)
    kept = [_kept(network, group, removal, task) for group in groups]
    shrinking = Shrinking(network)
    for group, channels in zip(groups, kept, strict=True):
        rows = torch.eye(group.width)[channels]
        shrinking.remove(group, channels, dict.fromkeys(group.readers, rows))
        for name in group.writers:
            task.layer(name, rank=len(channels))
    return network


def softly_without_lowest(network: nn.Module, task: Task, removal: Removal, steps: int, every: int) -> nn.Module:
    """After each so many steps of training the lowest filters are zero; after the last they are taken out."""
    groups = removable(network, task, removal)
    done = 0

    def after_step() -> None:
        nonlocal done
        done += 1
        if done % every == 0:
            for group in groups:
                _silence(network, group, _kept(network, group, removal, task))

    task.fit(network, max_steps=steps, after_step=after_step)
    return without_lowest(network, task, removal)


def removable(network: nn.Module, task: Task, removal: Removal) -> list[Group]:
    """Groups to be narrowed; writers of the others are recorded with the reason why they keep their outputs."""
    example = in_its_type(network, task.example_input)
    graph: ChannelGraph = channel_graph(network, example, task.shapes)
    for name in graph.order:
        if why := refuse_if_unusable(name, network.get_submodule(name)):  # type: ignore[arg-type]
            raise NotApplicable(why)
    reasons = [_refusal(network, group, removal) for group in graph.groups]
    narrowed = [group for group, why in zip(graph.groups, reasons, strict=True) if not why]
    changed = {slot.module for group in narrowed for slot in group.readers}
    for group, why in zip(graph.groups, reasons, strict=True):
        for name in group.writers if why else ():
            task.layer(name, **{"outputs_kept" if name in changed else "left_alone": why})
    if not narrowed:
        told = "; ".join(dict.fromkeys(f"{g.writers[0]}: {why}" for g, why in zip(graph.groups, reasons, strict=True)))
        raise NotApplicable(f"no filters can be removed: {told}" if told else "the network has no channels")
    return narrowed


def _refusal(network: nn.Module, group: Group, removal: Removal) -> str:
    reason = group.why_left_alone(removal.shared)
    if not reason and removal.criterion == "bn_scale" and not _scales(network, group):
        return "no batch norm scales its outputs"
    return reason


def _scales(network: nn.Module, group: Group) -> list[Tensor]:
    """(C,) of each batch norm of the group."""
    found = []
    for slot in group.scalers:
        module = network.get_submodule(slot.module)
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and weight is not None and slot.repeat == 1:
            found.append(weight.detach()[slot.offset : slot.offset + group.width])
    return found


def _filters(network: nn.Module, group: Group) -> list[Tensor]:
    """(C, n) float64 of each writer."""
    return [_writer(network, name).weight.detach().double().flatten(1).cpu() for name in group.writers]


def _writer(network: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer


def importance(network: nn.Module, group: Group, criterion: str) -> Tensor:
    """(C,): summed over the group's layers; the lowest go."""
    if criterion == "bn_scale":
        return torch.stack([scale.double().abs().cpu() for scale in _scales(network, group)]).sum(0)
    each = _filters(network, group)
    if criterion == "geometric_median":
        return torch.stack([torch.cdist(rows, rows).sum(1) for rows in each]).sum(0)
    return torch.stack([rows.norm(p=1 if criterion == "l1" else 2, dim=1) for rows in each]).sum(0)


def _kept(network: nn.Module, group: Group, removal: Removal, task: Task) -> Tensor:
    """(k,) ascending; of equals the first by position."""
    count = removal.width(group.width)
    if removal.criterion == "random":
        return torch.randperm(group.width, generator=task.generator)[:count].sort().values
    order = importance(network, group, removal.criterion).argsort(descending=True, stable=True)
    return order[:count].sort().values


@torch.no_grad()
def _silence(network: nn.Module, group: Group, kept: Tensor) -> None:
    """Zero weights and biases of all other filters."""
    gone = torch.ones(group.width, dtype=torch.bool)
    gone[kept] = False
    for name in group.writers:
        layer = _writer(network, name)
        layer.weight[gone.to(layer.weight.device)] = 0
        if layer.bias is not None:
            layer.bias[gone.to(layer.bias.device)] = 0
