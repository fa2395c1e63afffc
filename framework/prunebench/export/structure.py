"""A chain of torch's own layers as plain data, and back: what weights alone do not say."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from prunebench.errors import PruneBenchError

CONTAINERS = ("Sequential",)


def described(network: nn.Module) -> Any:
    """Nested plain data; raises `PruneBenchError` naming the first module that is no chain of torch's own layers."""
    name = type(network).__name__
    if getattr(nn, name, None) is not type(network):
        raise PruneBenchError(f"{name} is not a layer of torch's own: its weights alone do not say what it computes")
    if name in CONTAINERS:
        return {"use": name, "parts": [[key, described(part)] for key, part in network.named_children()]}
    if next(network.children(), None) is not None:
        raise PruneBenchError(f"{name} holds other layers in a way of its own")
    return {"use": name, "settings": _settings(network), "extra": _extra(network)}


def _extra(layer: nn.Module) -> dict[str, Any]:
    """Shapes and types of the buffers that a method has added to the layer: the grids of its weight."""
    usual = built({"use": type(layer).__name__, "settings": _settings(layer)}).state_dict()
    added = {name: value for name, value in layer.state_dict().items() if name not in usual}
    return {name: [list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in added.items()}


def _settings(layer: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in list(inspect.signature(type(layer).__init__).parameters)[1:]:
        if name in ("device", "dtype", "args", "kwargs"):
            continue
        value = getattr(layer, name, None)
        found[name] = value is not None if name == "bias" else value
    for name, value in found.items():
        if not is_plain(value):
            raise PruneBenchError(f"{type(layer).__name__} has a {name} that is not a plain value")
    return found


def is_plain(value: Any) -> bool:
    """Whether `value` is a number, a text, a truth, nothing, or a sequence of them."""
    if isinstance(value, tuple | list):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def built(description: Any) -> nn.Module:
    """The modules that the data describe, with weights still to be loaded."""
    cls = getattr(nn, str(description["use"]))
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise PruneBenchError(f"{description['use']} is not one of torch's layers")
    if "parts" in description:
        chain = nn.Sequential()
        for key, part in _in_order(description["parts"]):
            chain.add_module(key, built(part))
        return chain
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in description["settings"].items()}
    layer = cls(**settings)
    for name, (shape, dtype) in description.get("extra", {}).items():
        layer.register_buffer(name, torch.zeros(shape, dtype=getattr(torch, dtype)))
    return layer


def _in_order(parts: Any) -> list[Any]:
    """Names with their parts as a list; a table, as the first cards had it, has lost the order of its names."""
    if not isinstance(parts, dict):
        return list(parts)
    if not all(key.isdigit() for key in parts):
        raise PruneBenchError("the card has lost the order of the layers: save the network again")
    return sorted(parts.items(), key=lambda pair: int(pair[0]))
