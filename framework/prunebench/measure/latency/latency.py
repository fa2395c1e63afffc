"""How long a forward pass takes, as a pair: the pruned network against the dense one, in one process, interleaved."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from prunebench import samples
from prunebench.measure.latency.blocks import Block, Clock, clock_for
from prunebench.measure.latency.conditions import between, gpu_state, host_state, precision
from prunebench.measure.latency.copies import held
from prunebench.measure.latency.fastest_form import settled
from prunebench.measure.latency.faults import is_lack_of_memory
from prunebench.measure.latency.fresh_processes import NotPortable, in_fresh_processes
from prunebench.measure.latency.in_turns import Waiting
from prunebench.measure.latency.odd_calls import FRESH_INPUTS, REMEMBERS, has_uneven_calls, times_longer_when_new
from prunebench.measure.latency.pairs import PRECISION, Blocks, Pair, time_pair
from prunebench.measure.latency.placement import is_rebuilt
from prunebench.measure.latency.sides import Comparison, quiet
from prunebench.measure.runtimes.artifact import PROVIDERS
from prunebench.measure.runtimes.exporting import Unexportable
from prunebench.measure.runtimes.pair import Given, ready
from prunebench.measure.statistics import speedup_interval
from prunebench.measure.unchanged import Kept
from prunebench.records import Latency, LatencyProtocol
from prunebench.samples import Tree

CONTENDED = 0.05  # share of the wall time that the thread did not run
OTHERS = 0.10  # share of the process's time that its other threads worked, in the median block
HIDDEN = 0.30  # above it the wall time says more about the neighbours
LAUNCH_BOUND = 0.9  # share of the device's time that the host needs to queue the work
P99_SAMPLES = 459  # that many, and the largest is above the 99th percentile with 99 % confidence
FEW_PAIRS = 10
FLAGS: dict[str, tuple[str, ...]] = {"copies": (), "shared": ("no-copies",), "turns": ("no-copies", "in-turns")}

MakeInput = Callable[[int], Tree]


def latency(
    dense: nn.Module | Given,
    pruned: nn.Module | Given,
    make_input: MakeInput | Tree,
    protocol: LatencyProtocol,
    device: torch.device | str,
    seed: int,
    decline: Callable[[str], None] | None = None,
) -> tuple[Latency, ...]:
    """One record per batch size of the protocol; both networks are copied and left as they are.

    `make_input` gives the input for a batch size, or is a tree of samples, which are begun again where they are too
    few. Raises `torch.OutOfMemoryError` or RuntimeError naming the batch size where a network fails, and
    `ChangedWeights` where its forward pass changes its own weights. What a runtime other than torch cannot be given has
    no record: `decline` is told why, or `Unexportable` is raised.
    """
    found = []
    for batch in protocol.batch:
        try:
            found.append(_at_batch(dense, pruned, _inputs(make_input, batch), protocol, torch.device(device), seed))
        except Unexportable as error:
            if decline is None:
                raise
            decline(f"not timed in {protocol.runtime} at batch {batch}: {error}")
    return tuple(found)


def _at_batch(
    dense: nn.Module | Given,
    pruned: nn.Module | Given,
    inputs: tuple[Tree, Tree | None],
    protocol: LatencyProtocol,
    device: torch.device,
    seed: int,
) -> Latency:
    x, spare = inputs
    seed += samples.count(x)
    sides = [given if isinstance(given, Given) else Given(given, given) for given in (dense, pruned)]
    if protocol.runtime == "torch":
        return measured(Comparison(sides[0].network, sides[1].network, x, protocol, device, seed, spare=spare))
    if protocol.runtime == "torch_compile":
        compiled = replace(protocol, compile=True)
        asked = Comparison(sides[0].network, sides[1].network, x, compiled, device, seed, spare=spare)
        return measured(asked, {"runtime": protocol.runtime, "runtime_version": str(torch.__version__)})
    made = ready(sides[0], sides[1], x, protocol, device)
    if protocol.runtime in PROVIDERS:
        spare = None  # their input is bound
    asked = Comparison(made.dense, made.pruned, x, protocol, device, seed, spare=spare)
    return measured(asked, made.facts, made.flags)


def _inputs(make_input: MakeInput | Tree, batch: int) -> tuple[Tree, Tree | None]:
    """The samples to be timed on, and some that come behind them.

    Samples that differ: of copies of one a processor learns which way each branch goes, as in a max pooling.
    """
    if not callable(make_input):
        count = samples.count(make_input)
        spare = samples.rows(make_input, torch.arange(batch, batch + FRESH_INPUTS) % count)
        return samples.rows(make_input, torch.arange(batch) % count), spare
    x = make_input(batch)
    if samples.count(x) != batch:
        raise ValueError(f"make_input({batch}) must give {batch} samples, got {samples.count(x)}")
    return samples.mapped(lambda leaf: leaf.contiguous(), x), None


def measured(asked: Comparison, told: Mapping[str, Any] | None = None, flags: tuple[str, ...] = ()) -> Latency:
    """The record of one pair; raises as `latency` does.

    `told` are facts of the runtime; the time that its exports took is not in `seconds`.
    """
    start, before, batch = time.perf_counter(), host_state(), samples.count(asked.x)
    asked = held(asked)
    try:
        comparison, facts = settled(asked)
        blocks, seen = _blocks(comparison)
    except (RuntimeError, MemoryError) as error:
        raise _named(error, f"{batch}, compiled" if asked.protocol.compile else str(batch)) from error
    conditions = {
        **between(before, host_state()),
        "dense_calls_per_block": blocks.calls[0],
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
        **facts,
        **(told or {}),
        **_card(asked.device),
    }
    return _record(blocks, asked, time.perf_counter() - start, conditions, (*flags, *seen))


def _blocks(comparison: Comparison) -> tuple[Blocks, tuple[str, ...]]:
    """From fresh processes where the protocol asks for them and the networks can go there, and what to flag."""
    flags = FLAGS[comparison.hold]
    if comparison.protocol.rounds == 1:
        return blocks_of(comparison), flags
    if comparison.hold != "copies":
        return blocks_of(comparison), ("one-process", *flags)
    try:
        return in_fresh_processes(comparison), ()
    except NotPortable:
        return blocks_of(comparison), ("one-process",)


def blocks_of(comparison: Comparison, precision: float = PRECISION) -> Blocks:
    """Blocks of private copies of both networks, in this process."""
    protocol = comparison.protocol
    if protocol.compile:
        _ready_compiler()
    started = time.perf_counter()
    with quiet(protocol.threads):
        sides = comparison.sides()
        try:
            ready = time.perf_counter()
            kept = [Kept.of(one.network) for one in sides]
            now = time.perf_counter()
            pair = Pair(*sides, clock_for(comparison.device, protocol.threads), random.Random(comparison.seed))
            seconds = protocol.max_seconds - 2 * (now - ready)  # comparing takes as long as keeping did
            if not is_rebuilt(pair.dense):
                seconds -= ready - started
            blocks = time_pair(pair, protocol.groups, seconds, compiled=protocol.compile, precision=precision)
            blocks.times_longer_when_new = times_longer_when_new(comparison, sides, pair.clock)
            for one, own in zip(sides, kept, strict=True):
                own.require_unchanged(one.network)
        finally:
            for one in sides:
                if isinstance(one, Waiting):
                    one.stage.clear()
    return blocks


def _ready_compiler() -> None:
    """Imported, which takes seconds the first time, and emptied.

    What was compiled for other pairs counts towards a limit above which nothing is compiled.
    """
    torch.compiler.reset()
    torch.compile(nn.Identity(), dynamic=False)


def _named(error: RuntimeError | MemoryError, batch: str) -> RuntimeError:
    message = f"forward failed at batch {batch}: {str(error) or type(error).__name__}"
    return torch.OutOfMemoryError(message) if is_lack_of_memory(error) else RuntimeError(message)


def _card(device: torch.device) -> dict[str, Any]:
    return {**precision(), **gpu_state(device)} if device.type == "cuda" else {}


def _record(
    blocks: Blocks, asked: Comparison, seconds: float, conditions: dict[str, Any], flags: tuple[str, ...]
) -> Latency:
    protocol, batch = asked.protocol, samples.count(asked.x)
    clock = clock_for(asked.device, protocol.threads)
    dense_ms, pruned_ms = _column(blocks.dense, "ms"), _column(blocks.pruned, "ms")
    kind = {"by_rounds": protocol.rounds > 1, "by_sessions": protocol.runtime in PROVIDERS}
    speedup = speedup_interval(dense_ms, pruned_ms, blocks.round_index, **kind)
    contention = _contention(blocks, clock)
    middle = median(pruned_ms)
    return Latency(
        batch=batch,
        threads=protocol.threads,
        device=str(asked.device),
        dtype=protocol.dtype,
        memory_format=protocol.memory_format,
        compile=protocol.compile,
        clock=clock.name,
        calls_per_block=blocks.calls[1],
        dense_ms=dense_ms,
        pruned_ms=pruned_ms,
        dense_wall_ms=_column(blocks.dense, "wall_ms"),
        pruned_wall_ms=_column(blocks.pruned, "wall_ms"),
        round_index=tuple(blocks.round_index),
        cold_dense_ms=blocks.cold_ms[0],
        cold_pruned_ms=blocks.cold_ms[1],
        speedup=speedup.value,
        speedup_low=speedup.low,
        speedup_high=speedup.high,
        latency_ms=middle,
        latency_p90_ms=float(np.quantile(pruned_ms, 0.9)),
        latency_p99_ms=float(np.quantile(pruned_ms, 0.99)) if len(pruned_ms) >= P99_SAMPLES else None,
        dense_latency_ms=median(dense_ms),
        throughput=batch * 1000 / middle,
        contention=contention,
        seconds=seconds,
        stopped=blocks.stopped,
        flags=(*flags, *_flags(blocks, clock, contention, conditions)),
        conditions=conditions,
    )


def _column(blocks: list[Block], name: str) -> tuple[float, ...]:
    return tuple(float(np.float32(getattr(block, name))) for block in blocks)


def _contention(blocks: Blocks, clock: Clock) -> float:
    """Share of the wall time in which the thread did not run; with several, in which one of them had to wait."""
    every = [*blocks.dense, *blocks.pruned]
    wall_ms = sum(block.wall_ms for block in every)
    if clock.name == "wall":
        return min(1.0, sum(block.waited_ms for block in every) / wall_ms)
    return max(0.0, 1 - sum(block.host_ms for block in every) / wall_ms) if clock.name == "cpu" else 0.0


def _flags(blocks: Blocks, clock: Clock, contention: float, conditions: dict[str, Any]) -> Iterator[str]:
    if contention > CONTENDED:
        yield "contended"
    if contention > HIDDEN:
        yield "wall-hidden"
    if any(_works_elsewhere(side) for side in (blocks.dense, blocks.pruned)):
        yield "other-threads"
    if max(blocks.times_longer_when_new) > REMEMBERS:
        yield "remembers-inputs"
    if has_uneven_calls(blocks.dense, blocks.pruned):
        yield "uneven-calls"
    if clock.name == "cuda" and any(_is_launch_bound(side) for side in (blocks.dense, blocks.pruned)):
        yield "launch-bound"
    if conditions.get("throttled_by"):
        yield "throttled"
    if len(blocks.dense) < FEW_PAIRS:
        yield "few-blocks"


def _works_elsewhere(blocks: list[Block]) -> bool:
    """Whether other threads of the process took a share of the work that the clock of one thread did not see."""
    others, own = median([block.others_ms for block in blocks]), median([block.ms for block in blocks])
    return others > OTHERS * (own + others)


def _is_launch_bound(blocks: list[Block]) -> bool:
    return float(np.median([block.host_ms / block.ms for block in blocks])) > LAUNCH_BOUND
