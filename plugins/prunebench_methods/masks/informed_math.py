"""Writing masked weights into layers, with the Gram matrices of their inputs at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from prunebench import Task
from torch import Tensor, nn

from prunebench_methods.shared.grams import Gram, grouped_weight, input_grams
from prunebench_methods.shared.masking import writable_layers
from prunebench_methods.shared.replace import Layer

if TYPE_CHECKING:
    from prunebench_methods.masks.informed import InformedMask


def mask_layers(method: InformedMask, network: nn.Module, task: Task) -> nn.Module:
    """`network` with every selected layer masked in place, each from what the dense network feeds it."""
    layers = writable_layers(network, task, method.reasons(task.shapes))
    grams = input_grams(network, task, method.section)
    for name, layer in layers.items():
        weight = grouped_weight(layer)
        parts = [method.weights(part, grams[name], group) for group, part in enumerate(weight)]
        written = torch.stack([torch.where(mask, values, 0) for values, mask in parts])
        write(layer, written)
        _note(task, name, parts, grams[name])
    return network


def write(layer: Layer, weight: Tensor) -> None:
    """The weight (g, m/g, n) into the layer, in its dtype."""
    layer.weight.detach().copy_(weight.reshape(layer.weight.shape))


def _note(task: Task, name: str, parts: list[tuple[Tensor, Tensor]], gram: Gram) -> None:
    if not any(bool(mask.any()) for _, mask in parts):
        task.note(f"{name} lost all its weights: what it computes no longer depends on its input")
    if not bool(gram.diagonal().any()):
        task.note(f"{name}: its inputs are zero over the calibration data, so that they rank no weight")
