"""A network as a model builds it, made one that can be trained, copied, changed and stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.nn.parameter import is_lazy

from prunebench import samples
from prunebench.errors import PluginError
from prunebench.measure.scores import evaluating
from prunebench.samples import Tree


def ready(built: Any, example: Callable[[], Tree], model: str) -> nn.Module:
    """What `build` returned without torch.compile around it, its lazy layers initialised by one sample of `example()`.

    Raises `PluginError`, naming the model, for what is no module, is scripted, or cannot be initialised so.
    """
    if not isinstance(built, nn.Module):
        raise PluginError(f"model {model!r}: build() must return an nn.Module, got {type(built).__name__}")
    network = _uncompiled(built)
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"a TorchScript module as {name!r}" if name else "a TorchScript network"
            raise PluginError(
                f"model {model!r}: build() returned {what}, which cannot be pruned: return the plain module"
            )
    if any(is_lazy(value) for value in (*network.parameters(), *network.buffers())):
        _initialise(network, example(), model)
    return network


def _uncompiled(network: nn.Module) -> nn.Module:
    """Methods change modules, which a compiled function does not look at again: the plain ones, wherever they stand."""
    while isinstance(network, OptimizedModule):
        network = network._orig_mod
    for module in network.modules():
        for name, child in list(module._modules.items()):
            while isinstance(child, OptimizedModule):
                child = child._orig_mod
            module._modules[name] = child
        if module._compiled_call_impl is not None:  # of nn.Module.compile()
            module._compiled_call_impl = None
    return network


def _initialise(network: nn.Module, example: Tree, model: str) -> None:
    try:
        with evaluating(network), torch.no_grad():
            samples.call(network, example)
    except Exception as error:
        raise PluginError(
            f"model {model!r}: its lazy layers cannot be initialised by {samples.shapes(example)}, "
            f"initialise them in build(): {error}"
        ) from None
    still = [name for name, value in network.named_parameters() if is_lazy(value)]
    if still:
        raise PluginError(f"model {model!r}: a forward pass leaves {still[0]} uninitialised: initialise it in build()")
