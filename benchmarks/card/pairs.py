"""Two networks timed against each other: by the framework's protocol, or as they are where they cannot be copied."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from prunebench.measure.latency.blocks import Block, Side, clock_for
from prunebench.measure.latency.latency import LAUNCH_BOUND, latency
from prunebench.measure.latency.pairs import Pair
from prunebench.measure.latency.schedule import warm_up
from prunebench.measure.latency.sides import quiet
from prunebench.measure.statistics import speedup_interval, verdict
from prunebench.records import LatencyProtocol
from prunebench.samples import Tree
from torch import nn

WARM_SHARE = 0.2
ROUNDS = 10
LEAST_GROUPS = 4  # ABBA or BAAB, however slow the networks are


@dataclass(frozen=True)
class Timed:
    """How many times as fast the second network is, with its interval."""

    speedup: float
    low: float
    high: float
    first_ms: float
    second_ms: float
    flags: tuple[str, ...] = ()
    conditions: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`faster`, `slower` or `can't tell`, by the framework's rule."""
        return verdict(self.speedup, self.low, self.high)

    def values(self) -> dict[str, Any]:
        """For a row."""
        digits = {"speedup": self.speedup, "low": self.low, "high": self.high}
        times = {"dense_ms": self.first_ms, "pruned_ms": self.second_ms}
        rounded = {name: float(f"{value:.5g}") for name, value in (digits | times).items()}
        return {**rounded, "verdict": self.verdict, "flags": list(self.flags)}


def by_protocol(
    first: nn.Module, second: nn.Module, x: Tree, batch: int, device: str, seconds: float, **protocol: Any
) -> Timed:
    """What the framework says of copies of both, interleaved at changing places; `x` is a tree of samples."""
    asked = LatencyProtocol(batch=(batch,), max_seconds=seconds, **protocol)
    (found,) = latency(first, second, x, asked, device, seed=batch)
    bounds = (found.speedup, found.speedup_low, found.speedup_high)
    return Timed(*bounds, found.dense_latency_ms, found.latency_ms, found.flags, found.conditions)


def as_they_are(first: Side, second: Side, device: str, seconds: float, seed: int = 0) -> Timed:
    """Both where they lie, each with its own input: captured graphs and packed weights cannot be moved or copied."""
    clock = clock_for(torch.device(device), 1)
    with quiet(1), current(device):
        for side in (first, second):
            side.call()
            side.call()
        warmed = [warm_up(side, clock, WARM_SHARE * seconds / 2) for side in (first, second)]
        calls = max(1, *(int(clock.block_ms / max(side.ms, 1e-6)) + 1 for side in warmed))
        pair = Pair(first, second, clock, random.Random(seed))
        blocks: list[tuple[Block, Block]] = []
        rounds: list[int] = []
        due = time.perf_counter() + seconds * (1 - WARM_SHARE)
        while len(blocks) < 2 * LEAST_GROUPS or time.perf_counter() < due:
            rounds += [len(blocks) // 2 % ROUNDS] * 2
            blocks += pair.group((calls, calls))
    return _timed(blocks, rounds, clock.name)


def _timed(blocks: list[tuple[Block, Block]], rounds: list[int], clock: str) -> Timed:
    order = sorted(range(len(blocks)), key=lambda place: rounds[place])
    first, second = ([blocks[place][side] for place in order] for side in (0, 1))
    in_order = [rounds[place] for place in order]
    found = speedup_interval([b.ms for b in first], [b.ms for b in second], in_order)
    bound = any(median(block.host_ms / block.ms for block in side) > LAUNCH_BOUND for side in (first, second))
    flags = ("launch-bound",) if clock == "cuda" and bound else ()
    middles = (median(block.ms for block in side) for side in (first, second))
    return Timed(found.value, found.low, found.high, *middles, flags)


@contextlib.contextmanager
def current(device: str) -> Iterator[None]:
    """The card that events and streams belong to."""
    with torch.cuda.device(torch.device(device)) if device.startswith("cuda") else contextlib.nullcontext():
        yield


def drained(device: str) -> None:
    """All that was queued is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
