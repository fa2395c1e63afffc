"""Fitting weights on the mask that another method made."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from prunebench import Method, NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.masks.informed_math import write
from prunebench_methods.masks.refit_math import Damped, refit
from prunebench_methods.shared.grams import Gram, grouped_weight, input_grams
from prunebench_methods.shared.masking import writable_layers


def refit_layers(
    network: nn.Module, task: Task, other: Method, reasons: Mapping[str, str], settings: tuple[str, float]
) -> nn.Module:
    """`network` with the least-squares weights on the masks of `other`, in place; `settings`: section and damping."""
    section, damp = settings
    layers = writable_layers(network, task, reasons)
    masks = _masks(other.prune(copy.deepcopy(network), task), network, tuple(layers), other.name)
    grams = input_grams(network, task, section)
    for name, layer in layers.items():
        weight = grouped_weight(layer)
        write(layer, _fitted(weight, masks[name].reshape(weight.shape), grams[name], damp))
    return network


def _masks(example: nn.Module, network: nn.Module, names: tuple[str, ...], source: str) -> dict[str, Tensor]:
    """Layer -> where the other method left its weight in `example` nonzero."""
    after, before = dict(example.named_parameters()), dict(network.named_parameters())
    found = {}
    for name in names:
        key = f"{name}.weight" if name else "weight"
        if key not in after or after[key].shape != before[key].shape:
            raise NotApplicable(f"{source} does not mask {name} but replaces it: it leaves no mask to fit on")
        found[name] = after[key].detach() != 0
    return found


def _fitted(weight: Tensor, mask: Tensor, gram: Gram, damp: float) -> Tensor:
    if bool(mask.all()):
        return weight
    parts = (refit(part, mask[group], Damped.of(gram, group, damp)) for group, part in enumerate(weight))
    return torch.stack(list(parts))
