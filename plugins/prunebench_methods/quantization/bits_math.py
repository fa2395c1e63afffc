"""Putting the weights of layers on grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench import Task
from torch import nn

from prunebench_methods.quantization.grids import attach
from prunebench_methods.shared.grams import grouped_weight, input_grams, one_by_one
from prunebench_methods.shared.masking import writable_layers
from prunebench_methods.shared.shelf import TIDIED, tidy

if TYPE_CHECKING:
    from prunebench_methods.quantization.bits import Bits


def quantize_layers(method: Bits, network: nn.Module, task: Task) -> nn.Module:
    """`network` with every selected layer's weight on the grid that the method chooses, in place."""
    layers = writable_layers(network, task, method.reasons(task.shapes))
    grams = input_grams(network, task, method.section) if method.reads_inputs else {}
    for place, name in enumerate(one_by_one(grams, layers)):
        if place % TIDIED == 0:
            tidy(task)
        layer = layers[name]
        had_zeros = not bool(layer.weight.detach().all())
        weights, gram = grouped_weight(layer), grams.get(name)
        found = [method.grid(weight, gram, group) for group, weight in enumerate(weights)]
        attach(layer, [grid for grid, _ in found], [codes for _, codes in found])
        if had_zeros and not method.keeps_zeros:
            task.note(f"{name}: weights that were zero are not kept zero by {method.name}")
    task.note("the rounded weights are computed with in floating point: bytes shrink, no integer kernel is used")
    return network
