"""Masks that grow while a network trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from prunebench import Task
from torch import nn

from prunebench_methods.masks.mask import weight_refusals
from prunebench_methods.shared import masking

if TYPE_CHECKING:
    from prunebench_methods.masks.gradual import GradualMagnitude


def pruned_gradually(method: GradualMagnitude, network: nn.Module, task: Task) -> nn.Module:
    """`network`, trained for the method's steps under masks that follow its shares."""
    layers = masking.writable_layers(network, task, weight_refusals(task.shapes, method.section))
    masks = [torch.ones_like(layer.weight, dtype=torch.bool) for layer in layers.values()]
    step = 0

    def after_step() -> None:
        nonlocal masks, step
        step += 1
        with torch.no_grad():
            for layer, mask in zip(layers.values(), masks, strict=True):
                layer.weight.mul_(mask)
        if step % method.every == 0 or step == method.steps:
            masks = masking.magnitude_masks(layers, method.share(step), method.scope)
            with torch.no_grad():
                for layer, mask in zip(layers.values(), masks, strict=True):
                    layer.weight.mul_(mask)

    task.fit(network, max_steps=method.steps, after_step=after_step)
    masking.apply(layers, masking.magnitude_masks(layers, method.keep, method.scope), task)
    return network
