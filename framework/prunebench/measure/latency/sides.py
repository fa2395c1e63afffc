"""One side of a pair, made ready: a private copy of a network and its input, as the protocol wants them."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.measure.latency.blocks import Side
from prunebench.measure.latency.faults import InvalidOutput
from prunebench.measure.latency.in_turns import Stage, Waiting
from prunebench.measure.memory_need import Hold
from prunebench.measure.runtimes.artifact import Artifact
from prunebench.records import LatencyProtocol
from prunebench.samples import Tree


@dataclass(frozen=True)
class Way:
    """What may differ between the sides of a pair, where the protocol leaves it to measurement."""

    channels_last: bool = False
    in_place: tuple[str, ...] = ()  # names of the modules that are to overwrite their input


Ways = tuple[Way, Way]  # of the dense network and of the pruned one


@dataclass(frozen=True)
class Comparison:
    """What is timed: two networks on the same samples, as a protocol says, each in its way."""

    dense: nn.Module
    pruned: nn.Module
    x: Tree
    protocol: LatencyProtocol
    device: torch.device
    seed: int
    ways: Ways = (Way(), Way())
    spare: Tree | None = None  # samples beside `x`, of the same kind, where there are any
    pruned_x: Tree = None  # where the pruned network is called with other samples: behind its own cache
    hold: Hold = "copies"

    @property
    def inputs(self) -> tuple[Tree, Tree]:
        """What either network is called with."""
        return self.x, self.x if self.pruned_x is None else self.pruned_x

    def sides(self) -> tuple[Side, Side]:
        """Private copies of both networks, made ready; without room for them, the networks themselves."""
        if self.hold != "copies":
            return self._as_they_are()
        first, second = (
            side(network, x, self.protocol, self.device, way)
            for network, x, way in zip((self.dense, self.pruned), self.inputs, self.ways, strict=True)
        )
        return first, second

    def _as_they_are(self) -> tuple[Side, Side]:
        inputs = [
            ready_input(x, self.protocol, self.device, way) for x, way in zip(self.inputs, self.ways, strict=True)
        ]
        networks = self.dense.eval(), self.pruned.eval()
        if self.hold == "turns":
            stage = Stage(self.device, networks)
            return Waiting(networks[0], inputs[0], False, stage), Waiting(networks[1], inputs[1], False, stage)
        return Side(networks[0], inputs[0], False), Side(networks[1], inputs[1], False)


@contextmanager
def quiet(threads: int) -> Iterator[None]:
    """The thread count of the protocol, inference mode, and no garbage collection, inside."""
    before, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(threads)
    gc.disable()
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()


def side(network: nn.Module, x: Tree, protocol: LatencyProtocol, device: torch.device, way: Way) -> Side:
    """A copy in evaluation mode with an input of its own; neither shares memory with what it was made from."""
    if isinstance(network, Artifact):
        return Side(network.runner(x, protocol.threads, protocol.dynamic_batch), x)
    return Side(_network(network, protocol, device, way), ready_input(x, protocol, device, way))


def ready_input(x: Tree, protocol: LatencyProtocol, device: torch.device, way: Way) -> Tree:
    """A copy of the samples on the device, in the type and the memory format that they are to have.

    A protocol in float32 leaves the network's type as it is, and so that of narrower samples: keys and values of a
    network in bfloat16.
    """
    dtype = getattr(torch, protocol.dtype)

    def ready(leaf: Tensor) -> Tensor:
        is_narrow = leaf.is_floating_point() and leaf.element_size() < dtype.itemsize
        typed = leaf.to(dtype) if leaf.is_floating_point() and not is_narrow else leaf
        is_image = way.channels_last and leaf.ndim == 4
        return typed.contiguous(memory_format=torch.channels_last).clone() if is_image else typed.clone()

    return samples.mapped(ready, samples.moved(x, device))


def _network(network: nn.Module, protocol: LatencyProtocol, device: torch.device, way: Way) -> nn.Module:
    try:
        made = copy.deepcopy(network).to(device).eval()
    except (RuntimeError, TypeError) as error:
        raise InvalidOutput(f"the network cannot be copied, so it cannot be timed: {error}") from error
    if protocol.dtype != "float32":
        made = made.to(getattr(torch, protocol.dtype))
    if way.channels_last:
        made = made.to(memory_format=torch.channels_last)
    for name in way.in_place:
        made.get_submodule(name).inplace = True  # type: ignore[assignment]
    if protocol.compile:
        _compile(made)
    return made


def _compile(network: nn.Module) -> None:
    """As `network.compile()` does, for this shape alone, with code objects that no other network has.

    The second network of a pair would get a more general code. And torch keeps what it compiled with the code object it
    was compiled from, which networks of a class share: one of two equal networks then ran in what was compiled for the
    other, and was 1.5 % slower or faster at 0.03 ms per call, by which came first.
    """
    forward = type(network).forward
    if isinstance(forward, FunctionType):
        network.forward = MethodType(_own(forward), network)
    network._compiled_call_impl = torch.compile(MethodType(_own(nn.Module._call_impl), network), dynamic=False)


def _own(function: Any) -> FunctionType:
    """The same function with a code object of its own."""
    code, defaults, closure = function.__code__.replace(), function.__defaults__, function.__closure__
    made = FunctionType(code, function.__globals__, function.__name__, defaults, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    return made
