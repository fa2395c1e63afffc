"""What the operations of a traced network do to channels."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils import parametrize

MIXING = (nn.Linear, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
PASSING = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh),
    *(nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.LogSigmoid, nn.Hardshrink, nn.Softshrink),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.Identity, nn.ZeroPad2d, nn.Upsample),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
PASSING_FUNCTIONS = {
    *(torch.relu, torch.relu_, torch.sigmoid, torch.tanh, torch.clamp, torch.abs),
    *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.gelu, functional.silu),
    *(functional.mish, functional.sigmoid, functional.tanh, functional.softplus, functional.hardtanh),
    *(functional.hardswish, functional.hardsigmoid, functional.dropout, functional.dropout2d, functional.max_pool2d),
    *(functional.avg_pool2d, functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d, torch.max_pool2d),
}
PASSING_METHODS = {"relu", "relu_", "sigmoid", "tanh", "contiguous", "clone", "float", "clamp", "detach"}
JOINING = {operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv}
JOINING |= {torch.add, torch.sub, torch.mul}
JOINING_METHODS = {"add", "add_", "sub", "mul", "mul_"}
ASKING = {getattr, len}
ASKING_METHODS = {"size", "dim"}
SPATIAL_AXES = ({2, 3}, {-1, -2}, {2}, {3}, {-1}, {-2})


def module_kind(module: nn.Module) -> str:
    """mixing, scaling, passing, flattening, or "" for what is not known to treat each channel alike."""
    if isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels > 1:
        return "scaling"
    kinds = {"mixing": MIXING, "scaling": NORMS, "passing": PASSING, "flattening": (nn.Flatten,)}
    return next((kind for kind, types in kinds.items() if type(module) in types), "")


def why_fixed(module: nn.Module, calls: int, left_alone: str) -> str:
    """Why the sizes of a module that has weights cannot change, or an empty string."""
    if left_alone:
        return f"does not compute as its class does: {left_alone}"
    if next(module.parameters(recurse=False), None) is None and not parametrize.is_parametrized(module):
        return ""
    if calls > 1:
        return "is used more than once, or shares its weight"
    if parametrize.is_parametrized(module) or getattr(module, "_forward_pre_hooks", None):
        return "computes its weight at each call"
    is_grouped = isinstance(module, nn.Conv2d) and module.groups > 1 and module_kind(module) != "scaling"
    return f"is a grouped convolution ({module.groups} groups)" if is_grouped else ""


def call_counts(nodes: Sequence[fx.Node], modules: Mapping[str, nn.Module]) -> Counter[int]:
    """How often each module is called, by its id.

    A parameter that two modules own counts for both, and one that the network reads itself counts as a call.
    """
    called = [modules[str(node.target)] for node in nodes if node.op == "call_module"]
    counts = Counter(id(module) for module in called)
    read = [str(node.target).rpartition(".")[0] for node in nodes if node.op == "get_attr"]
    counts.update(id(modules[name]) for name in read if isinstance(modules.get(name), (*MIXING, *NORMS)))
    owners: dict[int, set[int]] = {}
    for module in modules.values():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(id(module))
    for sharing in owners.values():
        if len(sharing) > 1:
            counts.update(dict.fromkeys(sharing, 1))
    return counts


def function_kind(node: fx.Node) -> str:
    """passing, flattening, joining, concatenating, asking (for a shape), or "" for what is not known."""
    if node.op == "call_method":
        return _method_kind(node, str(node.target))
    if node.target in PASSING_FUNCTIONS:
        return "passing"
    if node.target in JOINING:
        return "joining" if len(_tensor_arguments(node)) > 1 else "passing"
    if node.target is torch.mean and _is_over_space(node):
        return "passing"
    if node.target is torch.flatten and _flattens(node):
        return "flattening"
    if node.target is torch.cat and _axis(node, 1) == 1 and node.args and isinstance(node.args[0], (list, tuple)):
        return "concatenating"
    return "asking" if node.target in ASKING else ""


def _method_kind(node: fx.Node, name: str) -> str:
    if name in PASSING_METHODS:
        return "passing"
    if name in JOINING_METHODS:
        return "joining" if len(_tensor_arguments(node)) > 1 else "passing"
    if name == "mean" and _is_over_space(node):
        return "passing"
    if name == "flatten" and _flattens(node):
        return "flattening"
    if name in ("view", "reshape") and _views_flat(node):
        return "flattening"
    return "asking" if name in ASKING_METHODS else ""


def _tensor_arguments(node: fx.Node) -> list[fx.Node]:
    return [argument for argument in node.all_input_nodes if is_tensor(argument)]


def _axis(node: fx.Node, position: int) -> Any:
    return node.kwargs.get("dim", node.args[position] if len(node.args) > position else 0)


def _is_over_space(node: fx.Node) -> bool:
    axes = _axis(node, 1)
    named = set(axes) if isinstance(axes, (list, tuple)) else {axes}
    return len(shape_of(node.all_input_nodes[0])) == 4 and named in SPATIAL_AXES and len(shape_of(node)) in (2, 4)


def _flattens(node: fx.Node) -> bool:
    first = node.kwargs.get("start_dim", node.args[1] if len(node.args) > 1 else 0)
    last = node.kwargs.get("end_dim", node.args[2] if len(node.args) > 2 else -1)
    return bool(first == 1 and last == -1)


def _views_flat(node: fx.Node) -> bool:
    """Whether a view makes one vector a sample without its length being written down in the program."""
    source, *sizes = node.args
    sizes = list(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (list, tuple)) else sizes
    is_flat = isinstance(source, fx.Node) and shape_of(node)[1:] == (entries(source),)
    return bool(is_flat and len(sizes) == 2 and (sizes[1] == -1 or isinstance(sizes[1], fx.Node)))


def is_tensor(node: fx.Node) -> bool:
    """Whether the node's value is one tensor."""
    return hasattr(node.meta.get("tensor_meta"), "shape")


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The shape of the node's tensor; empty where it is none."""
    return tuple(node.meta["tensor_meta"].shape) if is_tensor(node) else ()


def entries(node: fx.Node) -> int:
    """Entries of one sample."""
    return math.prod(shape_of(node)[1:])


def label(node: fx.Node) -> str:
    """The operation as its author knows it."""
    name = getattr(node.target, "__name__", None) or str(node.target)
    return f"{name}()"
