"""Writing masked weights into layers, with the Gram matrices of their inputs at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from prunebench import Task
from torch import Tensor, nn

from prunebench_methods.shared.allocation_math import Sites, shares_of
from prunebench_methods.shared.grams import Gram, grouped_weight, input_grams, one_by_one
from prunebench_methods.shared.masking import writable_layers
from prunebench_methods.shared.replace import Layer
from prunebench_methods.shared.shelf import TIDIED, tidy

if TYPE_CHECKING:
    from prunebench_methods.masks.informed import InformedMask


SEEDS = 65_536  # of the groups of a layer: more than any has


def mask_layers(method: InformedMask, network: nn.Module, task: Task) -> nn.Module:
    """`network` with every selected layer masked in place, each from what the dense network feeds it."""
    layers = writable_layers(network, task, method.reasons(task.shapes))
    grams = input_grams(network, task, method.section)
    places = {shape.name: place for place, shape in enumerate(task.shapes)}
    own = _by_layer(method, network, task, layers, grams)
    for place, name in enumerate(one_by_one(grams, layers)):
        if place % TIDIED == 0:
            tidy(task)
        layer = layers[name]
        weight = grouped_weight(layer)
        seed = task.generator.initial_seed() + places[name] * SEEDS  # whatever was drawn before
        parts = [own[name].weights(part, grams[name], group, seed + group) for group, part in enumerate(weight)]
        masked = [torch.where(mask, values, 0) for values, mask in parts]
        write(layer, masked[0] if len(masked) == 1 else torch.stack(masked))
        _note(task, name, parts, grams[name])
    return network


def _by_layer(
    method: InformedMask, network: nn.Module, task: Task, layers: Mapping[str, Layer], grams: Mapping[str, Gram]
) -> dict[str, InformedMask]:
    """Layer -> the method with the share that is its own."""
    if method.allocation == "uniform" or method.keep is None:
        return dict.fromkeys(layers, method)
    counts = {name: layer.weight.numel() for name, layer in layers.items()}
    sites = Sites(network, task, counts, grams, lambda name: grouped_weight(layers[name]))
    found = shares_of(method.allocation, method.keep, sites)
    return {name: replace(method, keep=share, allocation="uniform") for name, share in found.items()}


def write(layer: Layer, weight: Tensor) -> None:
    """The weight (g, m/g, n), or of one group (m, n), into the layer, in its dtype."""
    layer.weight.detach().copy_(weight.reshape(layer.weight.shape))


def _note(task: Task, name: str, parts: list[tuple[Tensor, Tensor]], gram: Gram) -> None:
    if not any(bool(mask.any()) for _, mask in parts):
        task.note(f"{name} lost all its weights: what it computes no longer depends on its input")
    if not bool(gram.diagonal().any()):
        task.note(f"{name}: its inputs are zero over the calibration data, so that they rank no weight")
