"""Multiply-accumulates of a network and of each module in it, from the operators that one sample really dispatches.

Fused kernels are switched off while counting, so that the same operators are seen on every device: attention by
matrix products, `nn.MultiheadAttention` and `nn.TransformerEncoderLayer` by no fast path, recurrent layers by steps.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.measure.operators import formula_of, is_free, name_of


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates by module name, "" for the whole; `unknown` names the operators that nobody can count."""

    by_module: Mapping[str, int]
    unknown_by_module: Mapping[str, frozenset[str]]

    def of(self, name: str = "") -> int | None:
        """MACs of a module, 0 where it was not called; None where an operator in it is unknown."""
        return None if self.unknown_by_module.get(name) else self.by_module.get(name, 0)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Operators of the whole network without a formula."""
        return tuple(sorted(self.unknown_by_module.get("", ())))


def counted_macs(network: nn.Module, call: Callable[[], None]) -> Macs:
    """What `call`, which runs `network` once, costs in each module of it."""
    counter = _Counter()
    with _plain_kernels(network), _watched(network, counter.stack), counter:
        call()
    return Macs(dict(counter.macs), {name: frozenset(found) for name, found in counter.unknown.items()})


class _Counter(TorchDispatchMode):
    """Adds up what it sees dispatched for every module on the stack."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack: list[str] = []
        self.macs: Counter[str] = Counter()
        self.unknown: dict[str, set[str]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = formula_of(func)
        arguments = _positional(func, args, kwargs) if formula is not None else args
        if formula is None and not is_free(func, (*args, kwargs)):
            parts = _decomposed(self, func, args, kwargs)
            if parts is not NotImplemented:
                return parts
            self._note(name_of(func))
        result = func(*args, **kwargs)
        if formula is not None:
            self._add(formula(arguments, result), func)
        return result

    def _add(self, macs: int | None, func: Any) -> None:
        if macs is None:
            self._note(name_of(func))
            return
        for name in {"", *self.stack}:
            self.macs[name] += macs

    def _note(self, operator: str) -> None:
        for name in {"", *self.stack}:
            self.unknown.setdefault(name, set()).add(operator)


def _positional(func: Any, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments in the schema's order, so that one given by keyword is found too."""
    schema = getattr(func, "_schema", None)
    if schema is None or not kwargs:
        return tuple(args)
    names = [argument.name for argument in schema.arguments if not argument.is_out][len(args) :]
    given = [kwargs.get(name) for name in names]
    while given and given[-1] is None:
        given.pop()
    return (*args, *given)


def _decomposed(mode: TorchDispatchMode, func: Any, args: Any, kwargs: Any) -> Any:
    """The operator by the simpler ones that it is made of, each counted; NotImplemented where there are none."""
    if not hasattr(func, "decompose"):
        return NotImplemented
    with mode:
        return func.decompose(*args, **kwargs)


@contextmanager
def _plain_kernels(network: nn.Module) -> Iterator[None]:
    was_fast = torch.backends.mha.get_fastpath_enabled()
    is_recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, was_fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for backend in (torch.backends.mkldnn, torch.backends.cudnn) if is_recurrent else ():
            stack.callback(setattr, backend, "enabled", getattr(backend, "enabled"))  # noqa: B009 (not in torch's types)
            setattr(backend, "enabled", False)  # noqa: B010
        if "torch._dynamo" in sys.modules:  # nothing is compiled where it is not
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


@contextmanager
def _watched(network: nn.Module, stack: list[str]) -> Iterator[None]:
    """Keep the names of the modules that are running on `stack`, the network's own modules untouched."""
    names = {id(module): name for name, module in network.named_modules()}

    def enter(module: nn.Module, args: Any) -> None:
        if id(module) in names:
            stack.append(names[id(module)])

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if id(module) in names and stack:
            stack.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
