"""Masks that a library keeps beside the weights, made plain zeros."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize, prune


def fold_masks(network: nn.Module) -> nn.Module:
    """Make pruning hooks and parametrizations permanent, in place: zeros become plain zeros."""
    for module in network.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)
    return network
