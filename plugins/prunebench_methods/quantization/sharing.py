"""Weights that share few values: a codebook that trains, and codes that stay."""

from __future__ import annotations

from functools import partial

import torch
from prunebench import Task
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunebench_methods.shared.clustering import centres_of_numbers, nearest
from prunebench_methods.shared.numerics import working
from prunebench_methods.shared.replace import Layer


class Codebook(nn.Module):
    """A weight as values of a codebook: `codes` (shape of the weight) 0 for exactly zero, i for the i-th value from 1.

    As a parametrization the codebook is what trains: the gradient of a value is the sum over the weights that share it
    (Han, Mao, Dally, 2016), and zero stays zero.
    """

    codes: Tensor

    def __init__(self, codes: Tensor, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        self._values = values

    def forward(self, values: Tensor) -> Tensor:
        return torch.cat([values.new_zeros(1), values])[self.codes]

    def right_inverse(self, weight: Tensor) -> Tensor:
        return self._values


def shared(weight: Tensor, clusters: int, start: str, ascending: Tensor, generator: torch.Generator) -> Codebook:
    """The codebook of k-means over the entries of `weight` that are not zero, `ascending` in order."""
    centres = centres_of_numbers(ascending, clusters, start, generator).to(weight.device)
    if not len(centres):
        return Codebook(torch.zeros_like(weight, dtype=torch.long), weight.new_zeros(0))
    codes = (nearest(weight, centres) + 1) * (weight != 0)
    return Codebook(codes, centres.to(weight.dtype))


def share(layers: dict[str, Layer], clusters: dict[str, int], start: str, task: Task, *, is_dense: bool = True) -> None:
    """Give every layer a codebook of so many values beside zero; it stays a parametrization until `fold`.

    `is_dense`: the layers are as the task handed them over, so that their order is worth keeping for the next setting.
    """
    for name, layer in layers.items():
        weight = working(layer.weight)
        ordered = task.once(("ascending", name), partial(_ascending, weight)) if is_dense else _ascending(weight)
        book = shared(layer.weight.detach(), clusters[name], start, ordered, task.generator)
        parametrize.register_parametrization(layer, "weight", book, unsafe=True)


def _ascending(weight: Tensor) -> Tensor:
    return weight[weight != 0].sort().values


def fold(layers: dict[str, Layer]) -> None:
    """Write the codebooks' values into plain weights."""
    for layer in layers.values():
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
