"""Taking channels out of a network: the layers that write, scale and read them become narrower in place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunebench_methods.channels.channel_graph import Group, Slot
from prunebench_methods.shared.numerics import like, working


class Shrinking:
    """A network from which groups are taken one after the other; slots keep saying where they lay in the dense one."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.removed: dict[str, list[tuple[int, int]]] = defaultdict(list)  # (offset of the slot, entries taken)

    def start(self, slot: Slot) -> int:
        """The slot's first entry as the module is now."""
        return slot.offset - sum(count for offset, count in self.removed[slot.module] if offset < slot.offset)

    def columns(self, slot: Slot, channels: int) -> Tensor:
        """A reader's weights for the group: (T, C, taps of the kernel or entries a channel)."""
        weight = working(self.network.get_submodule(slot.module).weight)  # type: ignore[arg-type]
        first = self.start(slot)
        return weight[:, first : first + channels * slot.repeat].reshape(len(weight), channels, -1)

    def remove(self, group: Group, kept: Tensor, mixtures: Mapping[Slot, Tensor]) -> None:
        """Only the kept channels (k,) stay; a reader's mixture (k, C) says what each keeps of all the weights."""
        for slot in group.readers:
            self._fold(slot, mixtures[slot])
        for slot in group.scalers:
            self._narrow_scaler(slot, kept, group.width)
        for name in group.writers:
            narrow_writer(self.network.get_submodule(name), kept)
        for slot in (*group.readers, *group.scalers):
            self.removed[slot.module].append((slot.offset, (group.width - len(kept)) * slot.repeat))

    def _fold(self, slot: Slot, mixture: Tensor) -> None:
        layer = self.network.get_submodule(slot.module)
        count, channels = mixture.shape
        weight, first = working(layer.weight), self.start(slot)  # type: ignore[arg-type]
        columns = self.columns(slot, channels)
        folded = torch.einsum("tcp,kc->tkp", columns, mixture.to(columns))
        folded = folded.reshape(len(weight), count * slot.repeat, *weight.shape[2:])
        set_weight(layer, torch.cat((weight[:, :first], folded, weight[:, first + channels * slot.repeat :]), dim=1))

    def _narrow_scaler(self, slot: Slot, kept: Tensor, channels: int) -> None:
        module = self.network.get_submodule(slot.module)
        first = self.start(slot)
        inside = first + (kept[:, None] * slot.repeat + torch.arange(slot.repeat)).flatten()
        behind = torch.arange(first + channels * slot.repeat, _width(module))
        narrow_scaler(module, torch.cat((torch.arange(first), inside, behind)))


def _width(module: nn.Module) -> int:
    return int(module.out_channels if isinstance(module, nn.Conv2d) else module.num_features)  # type: ignore[arg-type]


def narrow_scaler(module: nn.Module, kept: Tensor) -> None:
    """A batch norm or depthwise convolution of the kept channels only."""
    for name in ("weight", "bias"):
        if (values := getattr(module, name, None)) is not None:
            setattr(module, name, nn.Parameter(values.detach()[kept].clone(), requires_grad=values.requires_grad))
    for name in ("running_mean", "running_var"):
        if getattr(module, name, None) is not None:
            setattr(module, name, getattr(module, name)[kept].clone())
    sizes = ("in_channels", "out_channels", "groups") if isinstance(module, nn.Conv2d) else ("num_features",)
    for name in sizes:
        setattr(module, name, len(kept))


def narrow_writer(layer: nn.Module, kept: Tensor) -> None:
    """A linear layer or convolution of the kept outputs only."""
    if layer.bias is not None:
        layer.bias = like(layer.bias[kept], layer)  # type: ignore[index]
    set_weight(layer, layer.weight[kept])  # type: ignore[index]


def set_weight(layer: nn.Module, weight: Tensor) -> None:
    """New numbers for a linear layer or convolution; its channel counts follow them."""
    layer.weight = like(weight, layer)
    names = ("out_features", "in_features") if isinstance(layer, nn.Linear) else ("out_channels", "in_channels")
    for name, size in zip(names, weight.shape[:2], strict=True):
        setattr(layer, name, size)


def resize_writer(layer: nn.Module, outputs: int) -> None:
    """A linear layer or convolution of so many outputs; its numbers are not set."""
    weight, bias = layer.weight, layer.bias
    set_weight(layer, weight.new_empty(outputs, *weight.shape[1:]))  # type: ignore[operator,index]
    if bias is not None:
        layer.bias = like(weight.new_empty(outputs), layer)  # type: ignore[operator]


def resize_reader(layer: nn.Module, inputs: int) -> None:
    """A linear layer or convolution of so many inputs; its numbers are not set."""
    weight = layer.weight
    set_weight(layer, weight.new_empty(len(weight), inputs, *weight.shape[2:]))  # type: ignore[operator,arg-type,index]


def resize_scaler(module: nn.Module, channels: int) -> None:
    """A batch norm or depthwise convolution of so many channels; its numbers are not set."""
    narrow_scaler(module, torch.arange(channels) % _width(module))
