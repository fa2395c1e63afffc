"""Which layers compute as nn.Linear or nn.Conv2d does, and so may be changed: the one place that decides it.

A class says little: a subclass may standardise its weight, a hook or a parametrization may compute it, another module
may own it as well, and the network may read it itself. The reasons travel with each `LayerShape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

NUMBERS = ("weight", "bias")
# What a layer that is put in the place of another need not have: a network that reads it depends on the layer itself.
READABLE = frozenset((*NUMBERS, "in_features", "out_features", "in_channels", "out_channels", "_conv_forward"))
READABLE |= frozenset(("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"))

Owners = Mapping[int, list[tuple[str, nn.Module]]]  # id of a parameter -> the modules that hold it, each once


def is_layer(module: nn.Module) -> bool:
    """A linear layer or a 2-D convolution by its class; `why_left_alone` says whether it computes like one."""
    return isinstance(module, (nn.Linear, nn.Conv2d))


def why_left_alone(network: nn.Module) -> dict[str, str]:
    """Name of every linear layer and 2-D convolution -> why no method may change it, or an empty string."""
    owners = _owners(network)
    layers = {name: module for name, module in network.named_modules() if is_layer(module)}
    return {name: _own_computation(layer) or _shared(layer, owners) for name, layer in layers.items()}


def is_tied(network: nn.Module) -> dict[str, bool]:
    """Name of every linear layer and 2-D convolution -> whether another module has its weight, too."""
    owners = _owners(network)
    layers = {name: module for name, module in network.named_modules() if is_layer(module)}
    return {name: len(owners.get(id(layer._parameters.get("weight")), ())) > 1 for name, layer in layers.items()}


def _own_computation(layer: nn.Module) -> str:
    base = nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d
    methods = ("forward", "__call__") if base is nn.Linear else ("forward", "__call__", "_conv_forward")
    changed = any(getattr(type(layer), method) is not getattr(base, method) for method in methods)
    if changed or any(method in vars(layer) for method in methods):
        return f"{type(layer).__name__} has a forward pass of its own"
    return _computed(layer) or _more(layer) or _odd(layer)


def _computed(layer: nn.Module) -> str:
    """A number that is no parameter is made anew at each call: what is written into it is lost."""
    for key in NUMBERS:
        if parametrize.is_parametrized(layer, key):
            return f"its {key} is computed by a parametrization"
        if key not in layer._parameters:
            return f"its {key} is computed {'by a hook' if layer._forward_pre_hooks else 'by its class'}"
    return "it has no weight" if layer._parameters["weight"] is None else ""


def _more(layer: nn.Module) -> str:
    """A layer in its place would lose the rest."""
    held = {**layer._parameters, **layer._buffers, **layer._modules}
    more = [name for name, value in held.items() if name not in NUMBERS and value is not None]
    return f"it holds more than a weight and a bias: {', '.join(more)}" if more else ""


def _odd(layer: nn.Module) -> str:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    if weight.layout != torch.strided:
        return f"its weight is stored as {str(weight.layout).removeprefix('torch.')}"
    named = (layer.out_features, layer.in_features) if isinstance(layer, nn.Linear) else _conv_sizes(layer)
    return "" if tuple(weight.shape) == named else f"its weight has shape {tuple(weight.shape)} instead of {named}"


def _conv_sizes(layer: nn.Module) -> tuple[int, ...]:
    assert isinstance(layer, nn.Conv2d)
    return (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)


def _owners(network: nn.Module) -> Owners:
    """By modules, and by lists and dictionaries in which a module keeps a parameter a second time."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in network.named_modules():
        for value in {id(value): value for value in (*module._parameters.values(), *_kept_aside(module))}.values():
            if value is not None:
                owners.setdefault(id(value), []).append((name, module))
    return owners


def _kept_aside(module: nn.Module) -> Iterator[nn.Parameter]:
    for key, value in vars(module).items():
        if key in ("_parameters", "_buffers", "_modules"):
            continue
        items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
        yield from (item for item in items if isinstance(item, nn.Parameter))


def _shared(layer: nn.Module, owners: Owners) -> str:
    for key in NUMBERS:
        value = layer._parameters[key]
        others = [
            (name, owner) for name, owner in owners.get(id(value), ()) if value is not None and owner is not layer
        ]
        if others:
            return f"its {key} is shared with {_called(*others[0])}"
    return ""


def _called(name: str, module: nn.Module) -> str:
    """Another layer stays anonymous, as it always was; what else it is, a reader wants to know."""
    return "another layer" if is_layer(module) else f"{name or 'the network'} ({type(module).__name__})"


def read_outside(layers: Mapping[str, nn.Module], forward: Callable[[], Any]) -> set[str]:
    """Names of those `layers` whose weight, bias or sizes something else than the layer reads during `forward()`.

    Tied decoders do, hooks that work on the weight, and nn.TransformerEncoderLayer when it evaluates. Hooks would make
    the last take another path, so that a class that tells stands in for each layer's own.
    """
    found: set[str] = set()
    with _telling(layers, found):
        forward()
    return found


@contextmanager
def _telling(layers: Mapping[str, nn.Module], found: set[str]) -> Iterator[None]:
    classes = [(layer, type(layer)) for layer in layers.values()]
    try:
        for name, layer in layers.items():
            layer.__class__ = _teller(type(layer), name, found)
        yield
    finally:
        for layer, cls in classes:
            layer.__class__ = cls


def _teller(cls: type[nn.Module], name: str, found: set[str]) -> type[nn.Module]:
    """A subclass whose instances add `name` to `found` when they are read while they do not compute."""
    depth = 0

    def forward(self: nn.Module, *args: Any, **options: Any) -> Any:
        nonlocal depth
        depth += 1
        try:
            return cls.forward(self, *args, **options)
        finally:
            depth -= 1

    def read(self: nn.Module, key: str) -> Any:
        if not depth and key in READABLE:
            found.add(name)
        return object.__getattribute__(self, key)

    return type(cls.__name__, (cls,), {"forward": forward, "__getattribute__": read, "__module__": cls.__module__})
