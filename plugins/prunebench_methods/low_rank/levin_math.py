"""Dropping directions of inputs by what they matter to the linear response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from prunebench import LayerShape, NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.low_rank.pca_math import completed, flattened_inputs, has_room_for_mean, projected
from prunebench_methods.low_rank.projection import no_saving
from prunebench_methods.shared.calibration import BATCH, Inputs, channel_rows
from prunebench_methods.shared.gain import too_slow
from prunebench_methods.shared.replace import Layer, nothing_left, replace_module, select_layers, shapes_by_name
from prunebench_methods.shared.selection import rounded_up
from prunebench_methods.shared.walking import given

if TYPE_CHECKING:
    from prunebench_methods.low_rank.levin import PrincipalComponentsPruning


def drop_directions(method: PrincipalComponentsPruning, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer behind a projection of what the layers before, already pruned, give it."""
    shapes = shapes_by_name(task)
    reasons = method.reasons(task.shapes)
    chosen = select_layers(network, task, reasons)
    with given(network, task, chosen) as inputs_of:
        for name, layer in chosen.items():
            directions, mean = _salient(layer, inputs_of(name), centred=method.centred)
            if method.tolerance is None:
                found = _at_rank(network, name, layer, directions, mean, method.rank_of(shapes[name]), method.form)
                network, rank = found, method.rank_of(shapes[name])
            else:
                network, rank = _at_tolerance(method, network, task, shapes[name], layer, directions, mean)
            if not rank:
                reasons[name] = f"fewer directions than break-even raise the error by more than {method.tolerance:g}"
                task.layer(name, left_alone=reasons[name])
                continue
            new = network.get_submodule(name)
            if why := too_slow(layer, new, shapes[name], method.min_gain, method.gain_batch):
                reasons[name], network = why, replace_module(network, name, layer)
                task.layer(name, left_alone=why)
                continue
            task.layer(name, rank=rank)
    if all(reasons.values()):
        raise NotApplicable(nothing_left(reasons))
    return network


def _salient(layer: Layer, given_to_it: Iterable[Tensor], *, centred: bool) -> tuple[Tensor, Tensor | None]:
    """Directions (n, k), those that matter most first, and the mean (n,) where the inputs are centred."""
    inputs = Inputs()
    for x in given_to_it:
        inputs.add(channel_rows(x, type(layer)))
    centred = centred and has_room_for_mean(layer)
    variances, directions = inputs.components(centred=centred)
    saliency = variances * (flattened_inputs(layer) @ directions).square().sum(0)
    order = saliency.argsort(descending=True, stable=True)
    return directions[:, order], inputs.mean if centred else None


def _at_rank(
    network: nn.Module, name: str, layer: Layer, directions: Tensor, mean: Tensor | None, rank: int, form: str
) -> nn.Module:
    kept = completed(directions, rank, flattened_inputs(layer))
    return replace_module(network, name, projected(layer, kept, mean, form))


def _at_tolerance(
    method: PrincipalComponentsPruning,
    network: nn.Module,
    task: Task,
    shape: LayerShape,
    layer: Layer,
    directions: Tensor,
    mean: Tensor | None,
) -> tuple[nn.Module, int]:
    """The network with the fewest directions within the tolerance, by bisection; rank 0 where none saves weights."""
    if task.objective.name != "classification":
        raise NotApplicable("`tolerance` is a share of wrong classes: give rank or rank_ratio for other objectives")
    allowed = validation_error(network, task) + (method.tolerance or 0.0)
    low, high = 0, _most(method, shape)  # ranks: `low` is known to be too few
    if not high or not _is_within(
        _at_rank(network, shape.name, layer, directions, mean, high, method.form), task, allowed
    ):
        return replace_module(network, shape.name, layer), 0
    while high - low > method.round_to:
        middle = rounded_up((low + high) // 2, method.round_to, high - 1)
        if _is_within(_at_rank(network, shape.name, layer, directions, mean, middle, method.form), task, allowed):
            high = middle
        else:
            low = middle
    return _at_rank(network, shape.name, layer, directions, mean, high, method.form), high


def _most(method: PrincipalComponentsPruning, shape: LayerShape) -> int:
    """The most directions worth keeping; 0 when even one saves nothing."""
    ranks = range(shape.in_channels, 0, -1)
    return next((rank for rank in ranks if method.even_if_larger or not no_saving(rank, shape)), 0)


def _is_within(network: nn.Module, task: Task, allowed: float) -> bool:
    return validation_error(network, task) <= allowed


@torch.no_grad()
def validation_error(network: nn.Module, task: Task) -> float:
    """Share of the validation samples that the network gets wrong."""
    wrong = 0
    dtype = task.calibration.dtype
    for images, labels in task.validation.batches(BATCH, task.device):
        wrong += int((network(images.to(dtype)).argmax(1) != labels).sum())
    return wrong / max(1, len(task.validation))
