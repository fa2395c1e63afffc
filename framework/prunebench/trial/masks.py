"""Masks that a library keeps beside the weights, made plain zeros; what the dense network computes so stays."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils import parametrize, prune


def private_copy(network: nn.Module) -> nn.Module:
    """A deep copy in which no parametrization can be removed from `network` itself.

    A parametrized module has a class of its own, which a deep copy shares: removing the parametrization from the copy
    would take the weight off the original, too.
    """
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if parametrize.is_parametrized(module):
            cls = type(module)
            module.__class__ = type(cls.__name__, cls.__bases__, dict(vars(cls)))
    return copied


def fold_masks(network: nn.Module, dense: nn.Module | None = None) -> nn.Module:
    """Make pruning hooks and parametrizations permanent, in place: zeros become plain zeros.

    Those that `dense` has at the same place are part of its architecture and stay.
    """
    before = dict(dense.named_modules()) if dense is not None else {}
    for name, module in network.named_modules():
        own = before.get(name)
        if parametrize.is_parametrized(module):
            for key in list(module.parametrizations):
                if _steps(module, key) != _steps(own, key):
                    parametrize.remove_parametrizations(module, key, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod) and hook._tensor_name not in _masked(own):
                prune.remove(module, hook._tensor_name)
    return network


def _steps(module: nn.Module | None, key: str) -> list[type[nn.Module]]:
    """The classes that compute the tensor called `key`, in order; none where it is a plain parameter."""
    if module is None or not parametrize.is_parametrized(module, key):
        return []
    return [type(step) for step in module.parametrizations[key]]  # type: ignore[index]


def _masked(module: nn.Module | None) -> set[str]:
    hooks = module._forward_pre_hooks.values() if module is not None else ()
    return {hook._tensor_name for hook in hooks if isinstance(hook, prune.BasePruningMethod)}
