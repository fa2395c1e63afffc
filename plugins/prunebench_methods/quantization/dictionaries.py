"""Weights whose rows are put together from dictionaries, one for each group of columns."""

from __future__ import annotations

import torch
from prunebench import Task
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from prunebench_methods.quantization.sharing import fold
from prunebench_methods.shared.clustering import clustered_vectors
from prunebench_methods.shared.exact import quantized_byte_count
from prunebench_methods.shared.numerics import working
from prunebench_methods.shared.replace import Layer, linear_and_conv_layers

__all__ = ["Dictionaries", "fold", "quantize", "saved_byte_count"]


class Dictionaries(nn.Module):
    """A weight of `shape` (out, ...) from (groups, k, width) dictionaries by `codes` (groups, out)."""

    codes: Tensor

    def __init__(self, codes: Tensor, entries: Tensor, shape: torch.Size) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        self._entries, self._shape = entries, shape

    def forward(self, entries: Tensor) -> Tensor:
        picked = entries.gather(1, self.codes.unsqueeze(-1).expand(-1, -1, entries.shape[2]))  # (groups, out, width)
        rows = picked.transpose(0, 1).flatten(1)  # (out, groups·width)
        return rows[:, : self._shape[1:].numel()].reshape(self._shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return self._entries


def column_groups(weight: Tensor, width: int) -> Tensor:
    """(groups, out, width): the columns of the (out, rest) matrix cut up, the last group filled with zeros."""
    rows = weight.flatten(1)
    padded = functional.pad(rows, (0, -rows.shape[1] % width))
    return padded.reshape(len(rows), -1, width).transpose(0, 1)


def quantize(layers: dict[str, Layer], clusters: int, width: int, task: Task) -> None:
    """Give every layer its dictionaries, as a parametrization that trains until `fold`."""
    for name, layer in layers.items():
        weight = working(layer.weight)
        entries, codes = clustered_vectors(column_groups(weight, width).contiguous(), clusters, task.generator)
        book = Dictionaries(codes, entries.to(layer.weight.dtype), layer.weight.shape)
        if not bool(weight.all()):
            task.note(f"{name}: weights that were zero are not kept zero by product quantization")
        parametrize.register_parametrization(layer, "weight", book, unsafe=True)


def saved_byte_count(network: nn.Module, clusters: int, width: int) -> int:
    """Bytes that dictionaries save on the dense format, over the layers that consist of so few entries."""
    weights = [layer.weight.detach() for layer in linear_and_conv_layers(network).values() if layer.weight.numel()]
    return sum(_saved(weight, clusters, width) for weight in weights)


def _saved(weight: Tensor, clusters: int, width: int) -> int:
    rows, columns = weight.flatten(1).shape
    dense = weight.numel() * weight.element_size()
    coded = quantized_byte_count(rows, columns, width, clusters, weight.element_size())
    is_quantized = clusters < rows and _most_entries(column_groups(weight, width)) <= clusters
    return max(0, dense - coded) if is_quantized else 0


def _most_entries(groups: Tensor) -> int:
    """The largest number of different rows in a group, told apart by their products with irrational numbers.

    Added up column by column, since a matrix product may round equal rows differently.
    """
    mixed = torch.zeros_like(groups[..., 0], dtype=torch.float64)
    for column in range(groups.shape[2]):
        mixed += groups[..., column].double() * (column + 2) ** 0.5
    return int((mixed.sort(dim=1).values.diff(dim=1) != 0).sum(dim=1).max()) + 1
