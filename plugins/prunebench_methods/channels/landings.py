"""Where the outputs of a network's layers go, and the values that are found there."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from prunebench_methods.channels.channel_ops import shape_of
from prunebench_methods.channels.tracing import traced

ADDING = (operator.add, operator.iadd, torch.add, "add", "add_")
RECTIFYING = (torch.relu, torch.relu_, functional.relu, "relu", "relu_")


class Landing(NamedTuple):
    """What becomes of a layer's output; values are named as in the trace of the network."""

    source: str  # what the layer reads
    end: str  # its output, or that of the norm or of the sum that alone receives it
    norm: str = ""  # the module between, a batch norm
    other: str = ""  # what the sum adds to it
    is_rectified: bool = False  # whether a ReLU alone receives the end


def landings(
    network: nn.Module, names: Collection[str], norms: Mapping[str, str], example: Tensor
) -> dict[str, Landing]:
    """Of the layers that are called once, by name; `norms` names the batch norm that alone receives an output."""
    graph = traced(network)
    with torch.no_grad():
        ShapeProp(graph).propagate(example)
    modules = dict(graph.named_modules(remove_duplicate=False))
    return {
        str(node.target): _landing(node, norms.get(str(node.target), ""), modules)
        for node in graph.graph.nodes
        if node.op == "call_module" and node.target in names
    }


def _landing(node: fx.Node, norm: str, modules: Mapping[str, nn.Module]) -> Landing:
    source = str(node.args[0].name)  # type: ignore[union-attr]
    end, other = node, ""
    if norm and getattr(modules[norm], "running_mean", None) is None:
        return Landing(source, node.name)
    if norm:
        end = next(iter(node.users))
    if (receiver := _only_user(end)) is not None and _is(receiver, ADDING):
        others = [argument for argument in receiver.all_input_nodes if argument is not end]
        is_plain = len(others) == 1 and len(receiver.args) == 2 and not receiver.kwargs
        if is_plain and shape_of(others[0]) == shape_of(end):
            end, other = receiver, others[0].name
    user = _only_user(end)
    is_relu = user is not None and (
        isinstance(modules.get(str(user.target)), nn.ReLU) if user.op == "call_module" else _is(user, RECTIFYING)
    )
    return Landing(source, end.name, norm, other, is_relu)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is(node: fx.Node, targets: Collection[Any]) -> bool:
    return node.op in ("call_function", "call_method") and node.target in targets


class Values:
    """Runs a network up to the values that are asked for."""

    def __init__(self, network: nn.Module) -> None:
        self.graph = traced(network)
        self.output = next(node.name for node in self.graph.graph.nodes if node.op == "output")

    def at(self, names: Collection[str], images: Tensor) -> dict[str, Tensor]:
        """Copies, as they were before anything changed them in place."""
        watch = _Watch(self.graph, names)
        with contextlib.suppress(_Found):
            watch.run(images)
        return watch.found


class _Found(Exception):
    """Ends a forward pass at the last value that was asked for."""


class _Watch(fx.Interpreter):
    def __init__(self, traced: fx.GraphModule, names: Collection[str]) -> None:
        super().__init__(traced)
        self.missing, self.found = set(names), dict[str, Tensor]()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.missing:
            self.missing.remove(n.name)
            self.found[n.name] = value.clone()
            if not self.missing:
                raise _Found
        return value
