"""interpolative_channels from the graph to the narrowed network."""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.channels import interpolative_math as mathematics
from prunebench_methods.channels.channel_budget import channel_costs, shared_widths, uniform_widths
from prunebench_methods.channels.channel_graph import ChannelGraph, Group, Slot, channel_graph, in_its_type
from prunebench_methods.channels.channel_removal import Shrinking
from prunebench_methods.channels.interpolative_math import Order
from prunebench_methods.channels.landings import landings
from prunebench_methods.channels.refit_math import dense_answers, refit, scales_behind
from prunebench_methods.channels.refit_together import Answers, Progress, refit_together
from prunebench_methods.shared.replace import refuse_if_unusable
from prunebench_methods.shared.selection import rounded_up

BATCH = 64  # images a forward pass
NEAR = 0.01  # of the outputs' variance: so little is missing that the even widths, which are faster, are taken
JUDGED = 512  # validation pictures, without their labels, on which allocations are compared, at most


class Settings(NamedTuple):
    """What `remove_channels` needs of its method: the budget, how it is spent, how channels are chosen and replaced."""

    keep: float | None  # share of the channels of each layer, or None for a target
    target: tuple[str, float]  # name and value of the budget where no share is given
    allocations: tuple[str, ...]  # to be tried, the fastest first
    round_to: int
    choose: str
    greedy_width: float  # channels up to which those are taken that explain most of the readers' responses
    refit: bool
    shared: bool
    joint_steps: int
    images: int

    def width(self, share: float, channels: int) -> int:
        """Channels kept of so many at a share of them."""
        return rounded_up(math.ceil(share * channels - 1e-9), self.round_to, channels)


def remove_channels(settings: Settings, network: nn.Module, task: Task) -> nn.Module:
    """A narrowed network; `network` itself stays as it is."""
    images = _images(network, task, settings.images)
    graph: ChannelGraph = task.once("channel_graph", lambda: channel_graph(network, images[:1], task.shapes))
    groups = _removable(settings, network, graph, task)
    key: tuple[Hashable, ...] = ("channels", settings.images, settings.shared)
    grams = task.once(key, lambda: mathematics.reader_grams(network, groups, images, _always_the_same()))
    orders = task.once(
        (*key, settings.choose), lambda: [_order(settings, network, group, grams, graph.norms) for group in groups]
    )
    plans = [_widths(settings, allocation, network, groups, orders, task) for allocation in settings.allocations]
    kept = [[order.channels[:k] for order, k in zip(orders, plan, strict=True)] for plan in plans]
    made = (_narrowed(settings, network, graph, groups, channels, grams, images) for channels in kept)
    best = next(made) if len(plans) == 1 else _nearest(network, made, task.validation.head(JUDGED)[0].to(images))
    if settings.joint_steps:
        progress = _refitted_together(settings, network, graph, groups, best, images)
        task.note(
            f"all layers refitted together in {progress.steps} steps: the outputs' squared error on images held out "
            f"went from {progress.before:.3g} to {progress.after:.3g} of what they are squared"
        )
    for name, facts in best.facts.items():
        task.layer(name, **facts)
    return best.network


class _Narrowed(NamedTuple):
    network: nn.Module
    outputs: dict[str, Tensor]  # writer -> the outputs that it keeps, ascending
    facts: dict[str, dict[str, Any]]  # writer -> what to record of it


def _narrowed(
    settings: Settings,
    dense: nn.Module,
    graph: ChannelGraph,
    groups: list[Group],
    kept: Sequence[Tensor],
    grams: Mapping[Slot, Tensor],
    images: Tensor,
) -> _Narrowed:
    """A copy of the dense network with these channels of each group only."""
    network = copy.deepcopy(dense)
    outputs, facts = _shrink(network, groups, kept, grams)
    if settings.refit:
        lands = landings(dense, _behind(graph, groups), graph.norms, images[:1])
        refit(network, dense_answers(dense, lands, outputs, images, _always_the_same()), lands, images)
    return _Narrowed(network, outputs, facts)


def _refitted_together(
    settings: Settings,
    dense: nn.Module,
    graph: ChannelGraph,
    groups: list[Group],
    narrowed: _Narrowed,
    images: Tensor,
) -> Progress:
    """In float32 or better; the networks keep their dtype."""
    dtype = images.dtype
    if (wide := torch.promote_types(dtype, torch.float32)) != dtype:
        dense, images = copy.deepcopy(dense).to(wide), images.to(wide)
        narrowed.network.to(wide)
    behind = _behind(graph, groups)
    changed = dict.fromkeys((*behind, *(graph.norms[name] for name in behind if name in graph.norms)))
    for group in groups:
        changed |= dict.fromkeys((*group.writers, *(slot.module for slot in group.scalers)))
    answers = Answers(dense, landings(dense, behind, graph.norms, images[:1]), narrowed.outputs, images)
    progress = refit_together(narrowed.network, changed, answers, settings.joint_steps)
    narrowed.network.to(dtype)
    return progress


def _nearest(dense: nn.Module, made: Iterable[_Narrowed], images: Tensor) -> _Narrowed:
    """The first that answers on the images nearly as the dense network does, or else the one that does most nearly."""
    wanted = _answers(dense, images)
    spread = (wanted - wanted.mean(0)).square().sum()
    found: list[tuple[float, _Narrowed]] = []
    for one in made:
        found.append((float((_answers(one.network, images) - wanted).square().sum() / spread), one))
        if found[-1][0] <= NEAR:
            break
    return min(found, key=lambda pair: pair[0])[1]


@torch.inference_mode()
def _answers(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(batch) for batch in images.split(BATCH)]).double()


def _always_the_same() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _images(network: nn.Module, task: Task, count: int) -> Tensor:
    return in_its_type(network, task.calibration)[:count]


def _removable(settings: Settings, network: nn.Module, graph: ChannelGraph, task: Task) -> list[Group]:
    """The groups to be narrowed; the writers of the others are recorded with the reason why they keep their outputs."""
    for name in graph.order:
        if why := refuse_if_unusable(name, network.get_submodule(name)):  # type: ignore[arg-type]
            raise NotApplicable(why)
    reasons = [group.why_left_alone(settings.shared) for group in graph.groups]
    narrowed = [group for group, why in zip(graph.groups, reasons, strict=True) if not why]
    changed = _changed(settings, graph, narrowed) if narrowed else set()
    for group, why in zip(graph.groups, reasons, strict=True):
        for name in group.writers if why else ():
            task.layer(name, **{"outputs_kept" if name in changed else "left_alone": why})
    if not graph.groups:
        raise NotApplicable("the network has no channels that are understood")
    if all(reasons):
        listed = "; ".join(
            dict.fromkeys(f"{g.writers[0]}: {why}" for g, why in zip(graph.groups, reasons, strict=True))
        )
        raise NotApplicable(f"no channels can be removed: {listed}")
    return narrowed


def _changed(settings: Settings, graph: ChannelGraph, groups: list[Group]) -> set[str]:
    """The layers that get other numbers when these groups are narrowed, whether or not they become narrower."""
    readers = {slot.module for group in groups for slot in group.readers}
    return readers | set(_behind(graph, groups)) if settings.refit else readers


def _order(
    settings: Settings,
    network: nn.Module,
    group: Group,
    grams: Mapping[Slot, Tensor],
    norms: Mapping[str, str],
) -> Order:
    """In which channels are kept; all readers count alike, whatever the size of what they see."""
    seen = [grams[slot] for slot in group.readers]
    whole = Shrinking(network)
    weights = [
        _products(scales_behind(network, slot.module, norms)[:, None, None] * whole.columns(slot, group.width))
        for slot in group.readers
    ]
    if group.width <= settings.greedy_width:
        return mathematics.most_telling(seen, weights)
    return mathematics.strongest(mathematics.weighted(seen, weights), len(seen))


def _products(columns: Tensor) -> Tensor:
    """(C, C): products of a reader's weights (T, C, taps), summed over outputs and taps."""
    flat = columns.transpose(0, 1).flatten(1)
    return (flat @ flat.T).double().cpu()


def _widths(
    settings: Settings,
    allocation: str,
    network: nn.Module,
    groups: list[Group],
    orders: Sequence[Order],
    task: Task,
) -> list[int]:
    """How many channels each group keeps."""
    parameters = settings.target[0] == "compression"
    costs = channel_costs(network, groups, task.shapes, parameters=parameters)
    if settings.keep is not None:
        uniform = [settings.width(settings.keep, group.width) for group in groups]
        if allocation == "uniform":
            return uniform
        budget = costs.at(uniform)
    else:
        name, wanted = settings.target
        budget = costs.spent / wanted
        least = costs.at([min(settings.round_to, group.width) for group in groups])
        if least > budget:
            reached = costs.spent / least
            raise NotApplicable(f"{name} {wanted:g} is out of reach: the fewest channels give {reached:.3g}")
    if allocation == "uniform":
        return uniform_widths(settings.width, costs, budget)
    return shared_widths([order.missing for order in orders], costs, budget, settings.round_to)


def _shrink(
    network: nn.Module, groups: list[Group], kept: Sequence[Tensor], grams: Mapping[Slot, Tensor]
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Writer -> the outputs that it keeps, ascending, and what to record of it."""
    shrinking, outputs, facts = Shrinking(network), {}, {}
    for group, channels in zip(groups, kept, strict=True):
        chosen = channels.sort().values
        mixtures = {slot: mathematics.predictor(grams[slot], chosen) for slot in group.readers}
        shrinking.remove(group, chosen, mixtures)
        missing = max(mathematics.unexplained(grams[slot], chosen, mixture) for slot, mixture in mixtures.items())
        for name in group.writers:
            outputs[name] = chosen
            facts[name] = {"rank": len(chosen), "unexplained": missing}
    return outputs, facts


def _behind(graph: ChannelGraph, groups: list[Group]) -> list[str]:
    """The layers from the first on that reads a narrowed group."""
    readers = {slot.module for group in groups for slot in group.readers}
    first = min(place for place, name in enumerate(graph.order) if name in readers)
    return graph.order[first:]
