"""Significant components of feature maps, and the network that is as wide as they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.channels.channel_graph import ChannelGraph, Group, channel_graph, in_its_type
from prunebench_methods.channels.channel_removal import resize_reader, resize_scaler, resize_writer
from prunebench_methods.shared.numerics import working
from prunebench_methods.shared.replace import refuse_if_unusable, replace_module
from prunebench_methods.shared.selection import rounded_up

BATCH = 64  # images a forward pass
KINDS = {"fc": (nn.Linear,), "conv": (nn.Conv2d,), "all": (nn.Linear, nn.Conv2d)}


class Settings(NamedTuple):
    """What `redesigned` needs of its method; the words are those of `ChannelPca`."""

    variance: float
    depth: bool
    section: str
    round_to: int


class Design(NamedTuple):
    """What is to become of a chain: new widths by layer, and the layers to drop, each with the reason."""

    widths: dict[str, int]
    dropped: dict[str, str]


def redesigned(settings: Settings, network: nn.Module, task: Task) -> nn.Module:
    """The network in its new sizes, with fresh weights; raises `NotApplicable` where nothing would change."""
    images = in_its_type(network, task.calibration)
    graph: ChannelGraph = task.once("channel_graph", lambda: channel_graph(network, images[:1], task.shapes))
    chain = _chain(network, graph, settings.section)
    spectra = task.once(("map_spectra", settings.section), lambda: map_spectra(network, chain, graph.norms, images))
    found = {name: significant(values, settings.variance) for name, values in spectra.items()}
    design = _design(settings, network, chain, found)
    if not design.dropped and all(design.widths[group.writers[0]] == group.width for group in chain):
        raise NotApplicable(f"at variance {settings.variance:g} every layer keeps its width")
    _record(graph, chain, design, task)
    return _fresh(_resized(network, graph, chain, design), task)


def _chain(network: nn.Module, graph: ChannelGraph, section: str) -> list[Group]:
    """The groups that can be resized, in order of execution."""
    chosen = []
    for group in graph.groups:
        if len(group.writers) > 1 or len(group.readers) > 1:
            names = group.writers if len(group.writers) > 1 else [slot.module for slot in group.readers]
            shared = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise NotApplicable(f"the network is no chain of layers: {shared} share their channels")
        _require_whole(network, group)
        if not group.frozen and isinstance(network.get_submodule(group.writers[0]), KINDS[section]):
            chosen.append(group)
    if not chosen:
        reasons = {group.frozen for group in graph.groups if group.frozen}
        raise NotApplicable(f"no layer of section {section!r} can change its width ({'; '.join(sorted(reasons))})")
    for name in graph.order:
        if why := refuse_if_unusable(name, network.get_submodule(name)):  # type: ignore[arg-type]
            raise NotApplicable(why)
    return chosen


def _require_whole(network: nn.Module, group: Group) -> None:
    """Raise where a layer reads these channels beside others, as after a split or a concatenation."""
    for slot in (*group.readers, *group.scalers):
        module = network.get_submodule(slot.module)
        sizes = [getattr(module, name, None) for name in ("in_features", "in_channels", "num_features")]
        if group.width * slot.repeat not in sizes:
            raise NotApplicable(f"the network is no chain of layers: {slot.module} reads channels of several layers")


def map_spectra(network: nn.Module, chain: list[Group], norms: Mapping[str, str], images: Tensor) -> dict[str, Tensor]:
    """Writer -> eigenvalues, largest first, of the covariance of its maps over samples and positions."""
    moments: dict[str, list[Tensor]] = {}

    def see(name: str, output: Tensor) -> None:
        rows = working(output).movedim(1, -1).flatten(0, -2)
        rows = torch.cat((rows, rows.new_ones(len(rows), 1)), dim=1)
        moments.setdefault(name, []).append((rows.T @ rows).double().cpu())

    handles = []
    for group in chain:
        name = group.writers[0]
        module = network.get_submodule(norms.get(name, name))
        handles.append(module.register_forward_hook(lambda _, __, output, name=name: see(name, output)))
    with torch.no_grad():
        for batch in images.split(BATCH):
            network(batch)
    for handle in handles:
        handle.remove()
    return {name: _eigenvalues(torch.stack(parts).sum(dim=0)) for name, parts in moments.items()}


def _eigenvalues(moment: Tensor) -> Tensor:
    """Of the centred covariance, from sums of products with a column of ones behind."""
    count, sums = moment[-1, -1], moment[-1, :-1]
    covariance = moment[:-1, :-1] / count - torch.outer(sums, sums) / count**2
    result: Tensor = torch.linalg.eigvalsh(covariance).flip(0).clamp_min(0)
    return result


def significant(values: Tensor, variance: float) -> int:
    """The least number of leading eigenvalues that sum up to this share; at least 1."""
    missing = values.sum() * (1 - variance) - (values.sum() - values.cumsum(0))
    return min(len(values), 1 + int((missing < -1e-12 * values.sum()).sum()))


def _design(settings: Settings, network: nn.Module, chain: list[Group], found: dict[str, int]) -> Design:
    widths, dropped, before = {}, {}, 0
    previous: set[str] = set()  # what reads the group before: only such a layer leaves its reader with that group
    for group in chain:
        name = group.writers[0]
        is_next, previous = name in previous, {slot.module for slot in group.readers}
        is_dispensable = settings.depth and is_next and found[name] <= before
        if is_dispensable and _can_be_dropped(network.get_submodule(name)):
            dropped[name] = f"its {found[name]} significant components are no more than the {before} before it"
            widths[name] = 0
        else:
            before = found[name]
            widths[name] = rounded_up(before, settings.round_to, group.width)
    return Design(widths, dropped)


def _can_be_dropped(layer: nn.Module) -> bool:
    """Whether what goes in has the size of what comes out."""
    if not isinstance(layer, nn.Conv2d):
        return False
    if isinstance(layer.padding, str):
        pads = tuple(0 if layer.padding == "valid" else None for _ in layer.kernel_size)
    else:
        pads = layer.padding
    around = zip(pads, layer.dilation, layer.kernel_size, strict=True)
    return set(layer.stride) == {1} and all(pad is None or 2 * pad == step * (side - 1) for pad, step, side in around)


def _record(graph: ChannelGraph, chain: list[Group], design: Design, task: Task) -> None:
    for name in graph.order:
        if name in design.dropped:
            task.layer(name, removed=design.dropped[name], rank=0)
        elif name in design.widths:
            task.layer(name, rank=design.widths[name])
    widths = ", ".join(f"{group.width} to {design.widths[group.writers[0]]}" for group in chain)
    task.note(f"widths: {widths}")


def _resized(network: nn.Module, graph: ChannelGraph, chain: list[Group], design: Design) -> nn.Module:
    """Layers in their new sizes, their numbers not yet set; what reads a dropped layer reads the one before it."""
    current = 0
    for group in chain:
        name = group.writers[0]
        current = design.widths[name] or current
        if name not in design.dropped:
            resize_writer(network.get_submodule(name), current)
        for slot in group.scalers:
            resize_scaler(network.get_submodule(slot.module), current * slot.repeat)
        for slot in group.readers:
            resize_reader(network.get_submodule(slot.module), current * slot.repeat)
    for name in design.dropped:
        network = replace_module(network, name, nn.Identity())
        if name in graph.norms:
            network = replace_module(network, graph.norms[name], nn.Identity())
    return network


def _fresh(network: nn.Module, task: Task) -> nn.Module:
    """All weights drawn anew, from the task's generator; torch's own is left as it was."""
    seed = int(torch.randint(2**62, (), generator=task.generator))
    network = network.cpu()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    return network.to(task.device)
