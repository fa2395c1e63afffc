"""Every number that a network stores, wherever it keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.measure.latency.faults import ChangedWeights


def parameters(network: nn.Module) -> dict[str, Tensor]:
    """Parameters by name, each once however often it is used, and the weights that quantized modules keep packed."""
    found: dict[str, Tensor] = dict(network.named_parameters())
    for name, module in network.named_modules():
        found.update((f"{name}.{key}".lstrip("."), value) for key, value in _packed(module))
    return found


def _packed(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weight and bias of a module that holds them in an object of torch's kernels, where no tensor is seen."""
    if not any(_is_opaque(holder) for holder in (module, *module.children())):
        return
    for key in ("weight", "bias"):
        reader = getattr(type(module), key, None)
        if callable(reader) and not isinstance(reader, property):
            value = getattr(module, key)()
            if isinstance(value, Tensor):
                yield key, value


def _is_opaque(module: nn.Module) -> bool:
    return any(isinstance(value, torch.ScriptObject) for value in vars(module).values())


def buffers(network: nn.Module) -> dict[str, Tensor]:
    """Buffers by name, saved with the network or not, and tensors that modules keep as plain attributes.

    An attribute that a hook computes before every forward pass is none: what it is computed from is counted.
    """
    found: dict[str, Tensor] = dict(network.named_buffers())
    known = {id(value) for value in (*network.parameters(), *found.values())}
    for name, module in network.named_modules():
        computed = _computed(module)
        for key, value in _loose(vars(module)):
            if id(value) not in known and key not in computed:
                known.add(id(value))
                found[f"{name}.{key}".lstrip(".")] = value
    return found


def _computed(module: nn.Module) -> set[str]:
    """Attributes that hooks set anew: those of the older `weight_norm` and `spectral_norm`, and of torch's masks."""
    hooks = module._forward_pre_hooks.values()
    names = [getattr(hook, key, None) for hook in hooks for key in ("name", "_tensor_name")]
    return {name for name in names if isinstance(name, str) and name not in module._parameters}


def _loose(holder: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for key, value in holder.items():
        if key in ("_parameters", "_buffers", "_modules"):
            continue
        if isinstance(value, Tensor):
            yield key, value
        elif isinstance(value, (list, tuple)):
            yield from ((f"{key}[{i}]", item) for i, item in enumerate(value) if isinstance(item, Tensor))
        elif isinstance(value, dict):
            yield from ((f"{key}[{k!r}]", item) for k, item in value.items() if isinstance(item, Tensor))


def stored(network: nn.Module) -> dict[str, Tensor]:
    """All tensors that must be kept to run the network again."""
    return {**buffers(network), **parameters(network)}


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A private copy of all that is stored."""
    return {name: value.detach().clone() for name, value in stored(network).items()}


def require_unchanged(network: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Raise `ChangedWeights`, naming the first tensor, where `network` no longer stores what `before` holds."""
    now = stored(network)
    for name, value in before.items():
        if name not in now or not same(now[name], value):
            raise ChangedWeights(f"the forward pass changed {name}: make it leave parameters and buffers as they are")


def same(first: Tensor, second: Tensor) -> bool:
    """Equal in type, shape and every bit that counts; NaN equals NaN."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    return torch.equal(first, second) or (first.is_floating_point() and bool(_equal_with_nan(first, second).all()))


def _equal_with_nan(first: Tensor, second: Tensor) -> Tensor:
    return (first == second) | (first.isnan() & second.isnan())


def values_of(tensor: Tensor) -> Tensor:
    """The tensor as the plain numbers that it stands for: quantized ones dequantized, sparse ones their values."""
    if tensor.is_quantized:
        return tensor.dequantize()
    if tensor.layout != torch.strided:
        return tensor.values() if tensor.layout != torch.sparse_coo else tensor.coalesce().values()
    return tensor


def raw_bytes(tensor: Tensor) -> Tensor:
    """(B,) uint8: the bytes of a dense tensor in row-major order, on the CPU; may share memory with it.

    A tensor of one element counts as contiguous whatever its stride, which `view` does not take.
    """
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.as_strided(flat.shape, (1,)).view(torch.uint8)


def byte_count(tensor: Tensor) -> int:
    """Bytes of the numbers, and of the indices where it is sparse."""
    if tensor.layout == torch.sparse_coo:
        return byte_count(tensor.coalesce().values()) + byte_count(tensor.coalesce().indices())
    if tensor.layout in (torch.sparse_csr, torch.sparse_csc):
        rows = tensor.crow_indices() if tensor.layout == torch.sparse_csr else tensor.ccol_indices()
        columns = tensor.col_indices() if tensor.layout == torch.sparse_csr else tensor.row_indices()
        return sum(byte_count(part) for part in (tensor.values(), rows, columns))
    return tensor.numel() * tensor.element_size()
