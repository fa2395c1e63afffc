"""Which channels of a network must be removed together: every layer that writes, scales or reads them.

A network is traced once. Each value that flows through it carries a layout: which spaces of channels lie along its
second axis, in which order, and how many entries a channel has there (more than one after flattening). Adding two
values makes their spaces one; whatever is not understood freezes the spaces it touches, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from prunebench import LayerShape, NotApplicable
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from prunebench_methods.channels import channel_ops as ops
from prunebench_methods.channels.tracing import traced


class Slot(NamedTuple):
    """Channels of a group at a module: they start at entry `offset` of the dense layer's, `repeat` entries each."""

    module: str
    offset: int
    repeat: int


@dataclass
class Group:
    """Channels that are kept or removed together, in order of execution."""

    width: int
    writers: list[str] = field(default_factory=list)  # convolutions and linear layers whose outputs they are
    scalers: list[Slot] = field(default_factory=list)  # batch norms and depthwise convolutions: one number per channel
    readers: list[Slot] = field(default_factory=list)  # convolutions and linear layers that mix them
    frozen: str = ""  # why none of them can be removed

    def why_left_alone(self, shared: bool) -> str:
        """Why none of them is to be removed, or an empty string; `shared` allows channels that several layers use."""
        if self.frozen:
            return self.frozen
        if not self.readers:
            return "no layer reads its outputs"
        if not shared and (len(self.writers) > 1 or len(self.readers) > 1):
            return "several layers share its outputs"
        return ""


class Segment(NamedTuple):
    """A stretch of an axis: all channels of a space, `repeat` entries each."""

    space: int
    repeat: int


Layout = tuple[Segment, ...]


class ChannelGraph(NamedTuple):
    """The groups of a network in the order of their first writers, and what a refit needs to know besides."""

    groups: list[Group]
    order: list[str]  # convolutions and linear layers that are understood, in order of execution
    norms: dict[str, str]  # such a layer -> the batch norm that alone receives its output


def channel_graph(network: nn.Module, example: Tensor, shapes: Sequence[LayerShape] = ()) -> ChannelGraph:
    """The groups of the network's channels; `shapes` say which layers do not compute as their class does.

    Raises `NotApplicable` where the forward pass cannot be traced.
    """
    try:
        graph = traced(network)
    except Exception as error:
        raise NotApplicable(f"the forward pass cannot be traced: {type(error).__name__}: {error}") from None
    with torch.no_grad():
        ShapeProp(graph).propagate(example)
    return _Analysis(graph, {shape.name: shape.left_alone for shape in shapes}).graph()


def in_its_type(network: nn.Module, inputs: object) -> Tensor:
    """Inputs in the network's number format, tokens as they are; raises `NotApplicable` for more than one tensor."""
    if not isinstance(inputs, Tensor):
        raise NotApplicable("it follows one input through the network, and this one is given several")
    dtype = next((p.dtype for p in network.parameters()), torch.float32)
    return inputs.to(dtype) if inputs.is_floating_point() else inputs


class _Analysis:
    """One walk over the traced graph; spaces are numbers, joined as in a union of sets."""

    def __init__(self, graph: fx.GraphModule, left_alone: Mapping[str, str]) -> None:
        self.modules = dict(graph.named_modules(remove_duplicate=False))
        self.nodes = list(graph.graph.nodes)
        self.parents: list[int] = []
        self.found: list[Group] = []
        self.layouts: dict[fx.Node, Layout] = {}
        self.left_alone = {id(self.modules[name]): why for name, why in left_alone.items() if name in self.modules}
        self.calls = ops.call_counts(self.nodes, self.modules)
        self.order: list[str] = []
        self.norms: dict[str, str] = {}

    def graph(self) -> ChannelGraph:
        """Groups with at least one writer, joined ones merged."""
        for node in self.nodes:
            self._visit(node)
        groups = [group for space, group in enumerate(self.found) if self._root(space) == space and group.writers]
        return ChannelGraph(groups, self.order, self.norms)

    def _visit(self, node: fx.Node) -> None:
        if node.op == "output":
            self._freeze_inputs(node, "they are outputs of the network")
        elif node.op in ("placeholder", "get_attr"):
            self._new_fixed(node, "they come from outside")
        elif node.op == "call_module":
            self._module(node, str(node.target), self.modules[str(node.target)])
        else:
            self._function(node)

    def _module(self, node: fx.Node, name: str, module: nn.Module) -> None:
        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        kind = ops.module_kind(module)
        if source is None or source not in self.layouts or len(node.all_input_nodes) != 1:
            self._give_up(node, f"{name} is called in a way that is not understood")
        elif why := ops.why_fixed(module, self.calls[id(module)], self.left_alone.get(id(module), "")):
            self._give_up(node, f"{name} {why}")
        elif kind == "mixing":
            self._mixing(node, source, name, module)
        elif kind == "scaling":
            self._scaling(node, source, name, module)
        elif kind == "passing":
            self.layouts[node] = self.layouts[source]
        elif kind == "flattening" and ops.shape_of(node)[1:] == (ops.entries(source),):
            self._flatten(node, source)
        else:
            self._give_up(node, f"{name} is a {type(module).__name__}")

    def _mixing(self, node: fx.Node, source: fx.Node, name: str, module: nn.Module) -> None:
        if isinstance(module, nn.Linear) and len(ops.shape_of(source)) != 2:
            self._give_up(node, f"{name} is a linear layer on more than one vector a sample")
            return
        for segment, offset in self._offsets(self.layouts[source]):
            self._group(segment.space).readers.append(Slot(name, offset, segment.repeat))
        space = self._new_space(ops.shape_of(node)[1])
        self.found[space].writers.append(name)
        self.order.append(name)
        self.layouts[node] = (Segment(space, 1),)

    def _scaling(self, node: fx.Node, source: fx.Node, name: str, module: nn.Module) -> None:
        for segment, offset in self._offsets(self.layouts[source]):
            self._group(segment.space).scalers.append(Slot(name, offset, segment.repeat))
        if isinstance(module, ops.NORMS) and str(source.target) in self.order and len(source.users) == 1:
            self.norms[str(source.target)] = name
        self.layouts[node] = self.layouts[source]

    def _flatten(self, node: fx.Node, source: fx.Node) -> None:
        shape = ops.shape_of(source)
        positions = ops.entries(source) // shape[1] if len(shape) > 1 else 1
        layout = self.layouts[source]
        self.layouts[node] = tuple(Segment(segment.space, segment.repeat * positions) for segment in layout)

    def _function(self, node: fx.Node) -> None:
        sources = [source for source in node.all_input_nodes if source in self.layouts]
        kind = ops.function_kind(node)
        if kind == "asking" and not ops.is_tensor(node):
            return
        if kind == "passing" and len(sources) == 1:
            self.layouts[node] = self.layouts[sources[0]]
        elif kind == "flattening" and len(sources) == 1:
            self._flatten(node, sources[0])
        elif kind == "joining" and sources and self._can_join(node, sources):
            self._join(node, sources)
        elif kind == "concatenating" and list(node.args[0]) == sources:  # type: ignore[arg-type]
            self.layouts[node] = tuple(segment for source in sources for segment in self.layouts[source])
        else:
            self._give_up(node, f"{ops.label(node)} is not understood")

    def _can_join(self, node: fx.Node, sources: Sequence[fx.Node]) -> bool:
        """Whether the values lie channel upon channel, so that what is done to one can be done to all."""
        shapes = [ops.shape_of(source) for source in sources]
        layouts = [[(self._group(s.space).width, s.repeat) for s in self.layouts[source]] for source in sources]
        same_axes = all(len(shape) == len(shapes[0]) > 1 for shape in shapes)
        return same_axes and all(layout == layouts[0] for layout in layouts) and ops.is_tensor(node)

    def _join(self, node: fx.Node, sources: Sequence[fx.Node]) -> None:
        first = self.layouts[sources[0]]
        for source in sources[1:]:
            for one, other in zip(first, self.layouts[source], strict=True):
                self._union(one.space, other.space)
        self.layouts[node] = first

    def _give_up(self, node: fx.Node, reason: str) -> None:
        """Nothing that flows in or out may change."""
        self._freeze_inputs(node, reason)
        if ops.is_tensor(node):
            self._new_fixed(node, reason)

    def _freeze_inputs(self, node: fx.Node, reason: str) -> None:
        for source in node.all_input_nodes:
            for segment in self.layouts.get(source, ()):
                self._freeze(segment.space, reason)

    def _freeze(self, space: int, reason: str) -> None:
        group = self._group(space)
        group.frozen = group.frozen or reason

    def _new_fixed(self, node: fx.Node, reason: str) -> None:
        shape = ops.shape_of(node)
        space = self._new_space(shape[1] if len(shape) > 1 else 1)
        self._freeze(space, reason)
        if node.op == "call_module" and ops.module_kind(self.modules[str(node.target)]) == "mixing":
            self.found[space].writers.append(str(node.target))
        self.layouts[node] = (Segment(space, 1),)

    def _new_space(self, width: int) -> int:
        self.parents.append(len(self.parents))
        self.found.append(Group(width))
        return len(self.parents) - 1

    def _offsets(self, layout: Layout) -> list[tuple[Segment, int]]:
        offsets, at = [], 0
        for segment in layout:
            offsets.append((segment, at))
            at += self._group(segment.space).width * segment.repeat
        return offsets

    def _root(self, space: int) -> int:
        while self.parents[space] != space:
            space = self.parents[space]
        return space

    def _group(self, space: int) -> Group:
        return self.found[self._root(space)]

    def _union(self, one: int, other: int) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        if first == second:
            return
        self.parents[second] = first
        kept, gone = self.found[first], self.found[second]
        kept.writers += gone.writers
        kept.scalers += gone.scalers
        kept.readers += gone.readers
        kept.frozen = kept.frozen or gone.frozen
