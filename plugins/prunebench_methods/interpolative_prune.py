"""interpolative_channels from the graph to the narrowed network."""

from __future__ import annotations

import copy
from collections.abc import Hashable

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods import interpolative_math as mathematics
from prunebench_methods.channel_graph import ChannelGraph, Group, Slot, channel_graph
from prunebench_methods.channel_removal import Shrinking
from prunebench_methods.interpolative import InterpolativeChannels
from prunebench_methods.refit_math import dense_answers, refit
from prunebench_methods.replace import refuse_if_unusable


def remove_channels(method: InterpolativeChannels, network: nn.Module, task: Task) -> nn.Module:
    """The network, narrowed in place."""
    images = _images(network, task, method.images)
    graph: ChannelGraph = task.once("channel_graph", lambda: channel_graph(network, images[:1]))
    groups = _removable(method, network, graph, task)
    key: Hashable = ("reader_grams", method.images, method.shared)
    grams = task.once(key, lambda: mathematics.reader_grams(network, groups, images, _always_the_same()))
    dense = copy.deepcopy(network) if method.refit else network
    kept = _shrink(method, network, groups, grams, task)
    if method.refit:
        names = _behind(graph, groups)
        refit(network, dense_answers(dense, names, kept, images, _always_the_same()), graph.norms, images)
    return network


def _always_the_same() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _images(network: nn.Module, task: Task, count: int) -> Tensor:
    dtype = next((p.dtype for p in network.parameters()), torch.float32)
    return task.calibration[:count].to(dtype)


def _removable(method: InterpolativeChannels, network: nn.Module, graph: ChannelGraph, task: Task) -> list[Group]:
    """The groups to be narrowed; the writers of the others are recorded with the reason."""
    for name in graph.order:
        if why := refuse_if_unusable(name, network.get_submodule(name)):  # type: ignore[arg-type]
            raise NotApplicable(why)
    reasons = [_why_left_alone(method, group) for group in graph.groups]
    for group, why in zip(graph.groups, reasons, strict=True):
        for name in group.writers if why else ():
            task.layer(name, left_alone=why)
    if not graph.groups:
        raise NotApplicable("the network has no channels that are understood")
    if all(reasons):
        listed = "; ".join(
            dict.fromkeys(f"{g.writers[0]}: {why}" for g, why in zip(graph.groups, reasons, strict=True))
        )
        raise NotApplicable(f"no channels can be removed: {listed}")
    return [group for group, why in zip(graph.groups, reasons, strict=True) if not why]


def _why_left_alone(method: InterpolativeChannels, group: Group) -> str:
    if group.frozen:
        return group.frozen
    if not group.readers:
        return "no layer reads its outputs"
    if not method.shared and (len(group.writers) > 1 or len(group.readers) > 1):
        return "several layers share its outputs"
    return ""


def _shrink(
    method: InterpolativeChannels, network: nn.Module, groups: list[Group], grams: dict[Slot, Tensor], task: Task
) -> dict[str, Tensor]:
    """Writer -> the outputs that it keeps."""
    shrinking, kept = Shrinking(network), {}
    for group in groups:
        seen = [grams[slot] for slot in group.readers]
        weights = [_products(shrinking.columns(slot, group.width)) for slot in group.readers]
        chosen = _chosen(method, seen, weights, method.width(group.width))
        mixtures = {slot: mathematics.predictor(grams[slot], chosen) for slot in group.readers}
        shrinking.remove(group, chosen, mixtures)
        missing = max(mathematics.unexplained(grams[slot], chosen, mixture) for slot, mixture in mixtures.items())
        for name in group.writers:
            kept[name] = chosen
            task.layer(name, rank=len(chosen), unexplained=missing)
    return kept


def _products(columns: Tensor) -> Tensor:
    """(C, C): products of a reader's weights (T, C, taps), summed over outputs and taps."""
    flat = columns.transpose(0, 1).flatten(1)
    return (flat @ flat.T).double().cpu()


def _chosen(method: InterpolativeChannels, grams: list[Tensor], weights: list[Tensor], count: int) -> Tensor:
    """The kept channels, ascending; all readers count alike, whatever the size of what they see."""
    if count == len(grams[0]):
        return torch.arange(count)
    if method.is_greedy(len(grams[0])):
        return mathematics.most_telling(grams, weights, count).sort().values
    return mathematics.strongest(mathematics.weighted(grams, weights), count).sort().values


def _behind(graph: ChannelGraph, groups: list[Group]) -> list[str]:
    """The layers from the first on that reads a narrowed group."""
    readers = {slot.module for group in groups for slot in group.readers}
    first = min(place for place, name in enumerate(graph.order) if name in readers)
    return graph.order[first:]
