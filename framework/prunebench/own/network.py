"""What makes a network in hand this network and no other: its weights, its structure, the code of its classes."""

from __future__ import annotations

import copy
import hashlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

from torch import nn

from prunebench.errors import PruneBenchError, said
from prunebench.export.structure import is_plain
from prunebench.trial.workbench import weights_hash


def network_code(network: nn.Module) -> str:
    """A hash of weights, modules with their plain settings, and the source of every class that is not torch's own."""
    digest = hashlib.sha256(weights_hash(network).encode())
    classes: dict[str, type[Any]] = {}
    for name, module in network.named_modules():
        cls = type(module)
        classes[f"{cls.__module__}.{cls.__qualname__}"] = cls
        digest.update(f"{name} {cls.__qualname__} {sorted(_settings(module).items())}".encode())
    for name, cls in sorted(classes.items()):
        if not name.startswith("torch."):
            digest.update(f"{cls.__qualname__} {source(cls)}".encode())
    return digest.hexdigest()[:16]


def _settings(module: nn.Module) -> dict[str, Any]:
    """Attributes that are plain values: strides, shares, switches; whether it is training is no part of a network."""
    return {key: value for key, value in vars(module).items() if is_plain(value) and key != "training"}


def source(thing: type[Any] | types.FunctionType) -> str:
    """The text of a class or function; of one that was typed in, what its functions are compiled to."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        if isinstance(thing, types.FunctionType):
            return " ".join(_compiled(thing.__code__))
        functions = sorted((name, f) for name, f in vars(thing).items() if isinstance(f, types.FunctionType))
        return "\n".join(f"{name} {' '.join(_compiled(f.__code__))}" for name, f in functions)


def _compiled(code: types.CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _compiled(constant)
        else:  # the order of a set is another one in every process
            yield repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)


def own_copy(network: Any) -> nn.Module:
    """A copy in evaluation mode on the CPU; raises `PruneBenchError` for what is no network or cannot be copied."""
    if not isinstance(network, nn.Module):
        raise PruneBenchError(f"network must be an nn.Module, got {type(network).__name__}")
    try:
        copied = copy.deepcopy(network)
    except Exception as error:  # the border: a network of somebody's own may raise anything
        raise PruneBenchError(f"the network cannot be copied by copy.deepcopy: {said(error, 200)}") from None
    return copied.cpu().eval()
