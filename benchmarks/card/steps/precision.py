"""Half precision, TF32, channels_last, compiled networks and CUDA graphs: each against float32 as it comes."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from prunebench import NotApplicable
from prunebench.measure.latency.blocks import Side
from torch import Tensor, nn

from card.networks import images, method_of, network_of, pruned_by, relative_error, task_for
from card.pairs import as_they_are, by_protocol
from card.record import Record

NETWORKS = ("large_fcn", "resnet50", "vit_b_16")
TENTH = ("simple_fcn", "lenet5")  # half precision is slow on a CPU
SMALL = "lenet5"  # for what the protocol does by itself, compiled and in both formats
# ‖outputs − float32's‖ / ‖float32's‖, stated before any card has run.
BOUNDS = {"bfloat16": 0.1, "float16": 0.02, "tf32": 0.02, "channels_last": 1e-3, "compiled": 1e-3, "graph": 1e-5}
GRAPH_WARM_CALLS = 3
COMPILE_SECONDS = 25


class Cast(nn.Module):
    """The network in another type or format, for inputs in float32."""

    def __init__(self, network: nn.Module, **wanted: Any) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(**wanted)
        self.wanted = wanted

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.to(**self.wanted))


class Tf32(nn.Module):
    """The network with TF32 in products and convolutions while it runs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        with tf32(True):
            return self.network(x)


class Graph(nn.Module):
    """The network's kernels captured once and replayed; the output is overwritten by the next call."""

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.x, self.graph = x.clone(), torch.cuda.CUDAGraph()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # what is captured must have been warm on another stream
            for _ in range(GRAPH_WARM_CALLS):
                network(self.x)
        torch.cuda.current_stream().wait_stream(beside)
        with torch.cuda.graph(self.graph):
            self.output = network(self.x)

    def forward(self, x: Tensor) -> Tensor:
        self.x.copy_(x)
        self.graph.replay()
        return self.output


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether products and convolutions of float32 may be rounded to TF32, inside."""
    held = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(held[0])
        torch.backends.cudnn.allow_tf32 = held[1]


def run(record: Record) -> None:
    """Every way of every network; then what the protocol's own settings do; what is compiled comes last."""
    batches = record.size.of((1, 64), (1, 4))
    for name in record.size.of(NETWORKS, TENTH):
        for batch in batches:
            with record.case(f"{name} at batch {batch}"):
                _ways_of(record, name, batch)
            gc.collect()
    _by_protocol(record)
    for name in record.size.of(("large_fcn", "resnet50"), ("simple_fcn",)):
        _compiled(record, name)
    found = {row["way"] for row in record.rows if "way" in row}
    least = {"bfloat16", "float16", "channels_last"} | ({"tf32", "graph"} if record.device == "cuda" else set())
    record.check(f"{', '.join(sorted(least))} were timed", least <= found, sorted(found))


def _ways_of(record: Record, name: str, batch: int) -> None:
    network, shape = network_of(name, record.size)
    network, x = network.to(record.place), images(batch, shape, record.place)
    last = torch.channels_last
    ways: dict[str, Callable[[], nn.Module]] = {
        "bfloat16": lambda: Cast(network, dtype=torch.bfloat16),
        "float16": lambda: Cast(network, dtype=torch.float16),
        "channels_last": lambda: Cast(network, memory_format=last),
        "tf32": lambda: Tf32(network),
        "graph": lambda: Graph(network, x),
    }
    for way, make in ways.items():
        what = f"{name}, {way} at batch {batch}"
        with record.case(what, declines=(NotApplicable,)), torch.inference_mode(), tf32(False):
            if not record.has_time(what, 1):
                continue
            _refuse(way, name, record.device)
            _one(record, {"model": name, "way": way, "batch": batch}, network, make(), x)


def _refuse(way: str, name: str, device: str) -> None:
    if way in ("tf32", "graph") and device == "cpu":
        raise NotApplicable("a card alone has it")
    if way == "channels_last" and name.endswith("_fcn"):
        raise NotApplicable("it has no convolution")


def _one(record: Record, facts: dict[str, Any], network: nn.Module, other: nn.Module, x: Tensor) -> None:
    """Outputs first, then times; weights that were captured or compiled stay where they are."""
    error = relative_error(other(x), network(x))
    way, what = facts["way"], f"{facts['model']}, {facts['way']} at batch {facts['batch']}"
    record.check(f"{what}: outputs within {BOUNDS[way]:g}", error <= BOUNDS[way], f"{error:.2e}")
    seconds = record.size.of(0.5, 0.2)
    timed = as_they_are(Side(network, x), Side(other, x.clone()), record.place, seconds)
    record.row(**facts, error=error, **timed.values())


def _by_protocol(record: Record) -> None:
    """`dtype`, `memory_format` and `in_place` of a grid's protocol, for both sides of a pair."""
    network, shape = network_of(SMALL, record.size)
    calibration = images(record.size.of(256, 26), shape, "cpu")
    task = task_for(network, calibration, record.place, 10)
    pruned = pruned_by(method_of("low_rank", task, network, rank_ratio=0.5), network, task)
    x = images(16, shape, record.place)
    for asked in ({"dtype": "bfloat16"}, {"dtype": "float16"}, {"memory_format": "fastest"}, {"in_place": True}):
        told = ", ".join(f"{key} = {value}" for key, value in asked.items())
        if record.has_time(told, 2):
            with record.case(f"protocol with {told}"):
                timed = by_protocol(network, pruned, x, len(x), record.place, 0.5, **asked)
                record.row(model=SMALL, protocol=told, batch=len(x), **timed.values())
                record.check(f"protocol with {told}: a time", timed.low <= timed.speedup <= timed.high, timed.speedup)


def _compiled(record: Record, name: str) -> None:
    """As the protocol compiles: outputs by themselves first, then a pair of dense and factored."""
    if not record.has_time(f"{name}, compiled", record.size.of(COMPILE_SECONDS, 15)):
        return
    network, shape = network_of(name, record.size)
    batch = record.size.of(16, 2)
    network, x = network.to(record.place), images(batch, shape, record.place)
    with record.case(f"{name}, compiled"), torch.inference_mode(), tf32(False):
        made = torch.compile(copy.deepcopy(network), dynamic=False)
        _one(record, {"model": name, "way": "compiled", "batch": batch}, network, made, x)
    if name.endswith("_fcn"):
        with record.case(f"{name}, both sides compiled by the protocol"):
            task = task_for(network, x, record.place, 10)
            pruned = pruned_by(method_of("low_rank", task, network, rank_ratio=0.1), network, task)
            timed = by_protocol(network, pruned, x, batch, record.place, 1.0, compile=True)
            record.row(model=name, protocol="compile = True", batch=batch, **timed.values())
