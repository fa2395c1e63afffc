"""Two networks timed against each other: interleaved blocks, in rounds of fresh copies.

Two copies of the same weights differ by a percent in speed, by where they happen to lie in memory, and keep that bias as
long as they live. So a round is a pair of new copies at new addresses, and the spread between rounds is what the
interval is made of.
"""

from __future__ import annotations

import copy
import math
import random
import time
from dataclasses import dataclass, field
from statistics import median

import torch

from prunebench.measure.blocks import Block, Clock, Side
from prunebench.measure.significance import round_logs, t_interval
from prunebench.measure.weights import byte_count, stored

WARM_SHARE = 0.15  # of the time for one batch size, for both sides together
WARM_CALLS = 10
AGREEMENT = 0.05  # between two warm-up blocks
COPIED_BYTES = 32 << 20  # larger networks are timed where they are: the bias is one of small, cached ones
GROUPS_A_ROUND = 2
PRECISION = 0.01  # half-width of the interval at which it stops
MOST_GROUPS = 20  # times what the protocol asks for at least


@dataclass
class Blocks:
    """Raw blocks, entry i of one side timed next to entry i of the other, and how it went."""

    dense: list[Block] = field(default_factory=list)
    pruned: list[Block] = field(default_factory=list)
    round_index: list[int] = field(default_factory=list)
    cold_ms: tuple[float, float] = (0.0, 0.0)
    calls: tuple[int, int] = (1, 1)
    stopped: str = "time"

    def half_width(self) -> float:
        """Of the 95 % interval of the log speed-up, over rounds."""
        dense_ms, pruned_ms = [block.ms for block in self.dense], [block.ms for block in self.pruned]
        interval = t_interval(round_logs(dense_ms, pruned_ms, self.round_index))
        return interval.high - interval.value


@dataclass(frozen=True)
class Schedule:
    """How the time is spent: `pairs` a round (one pair is half an ABBA group), calls a block of either side."""

    pairs: int
    least_rounds: int
    most_rounds: int
    calls: tuple[int, int]
    seconds: float  # of one round


def time_pair(dense: Side, pruned: Side, clock: Clock, groups: int, seconds: float, rng: random.Random) -> Blocks:
    """Blocks of both sides, warm-up included in `seconds`; called in inference mode, garbage collector off."""
    start = time.perf_counter()
    blocks = Blocks()
    blocks.cold_ms = _cold(dense, pruned, clock, rng)
    spent = time.perf_counter() - start
    warm = max(0.0, WARM_SHARE * seconds - spent) / 2
    each = _warm(dense, clock, warm), _warm(pruned, clock, warm)
    schedule = _schedule(each, clock, groups, seconds - (time.perf_counter() - start))
    blocks.calls = schedule.calls
    fresh = copied_bytes(dense) + copied_bytes(pruned) <= COPIED_BYTES
    for index in range(schedule.most_rounds):
        _round(dense, pruned, clock, schedule, blocks, index, rng, fresh)
        if index + 1 >= schedule.least_rounds and blocks.half_width() <= PRECISION:
            blocks.stopped = "precision"
            return blocks
        if index > 0 and time.perf_counter() - start + schedule.seconds > seconds:
            blocks.stopped = "time"
            return blocks
    blocks.stopped = "groups"
    return blocks


def copied_bytes(side: Side) -> int:
    """What a copy of the network would take; without bound where it cannot be copied."""
    return sum(byte_count(tensor) for tensor in stored(side.network).values())


def _cold(dense: Side, pruned: Side, clock: Clock, rng: random.Random) -> tuple[float, float]:
    """Wall milliseconds of the very first call of each, in random order: the first pays for what the process lacks."""
    if rng.random() < 0.5:
        first = clock.block(dense, 1).wall_ms
        return first, clock.block(pruned, 1).wall_ms
    first = clock.block(pruned, 1).wall_ms
    return clock.block(dense, 1).wall_ms, first


def _warm(side: Side, clock: Clock, seconds: float) -> float:
    """Milliseconds a call, once two blocks in turn agree and ten calls are made, or the time is up."""
    start, calls, made, last = time.perf_counter(), 1, 0, math.inf
    while True:
        now = clock.block(side, calls)
        made += calls
        long_enough = now.ms * calls >= clock.block_ms
        if long_enough and made >= WARM_CALLS and abs(now.ms / last - 1) < AGREEMENT:
            return now.ms
        if time.perf_counter() - start > seconds:
            return now.ms
        calls, last = (calls if long_enough else 2 * calls), now.ms


def _schedule(each: tuple[float, float], clock: Clock, groups: int, seconds: float) -> Schedule:
    """As many rounds of two groups as asked for; rounds of one group, or of one pair, where time is short."""
    calls = _calls(each, clock.block_ms)
    pair = (each[0] * calls[0] + each[1] * calls[1]) / 1000
    affordable = seconds / pair
    pairs = 2 * GROUPS_A_ROUND if affordable >= 2 * groups else 2 if affordable >= 8 else 1
    least = math.ceil(2 * groups / pairs)
    return Schedule(pairs, least, MOST_GROUPS * least, calls, pair * (pairs + 1))


def _calls(each: tuple[float, float], block_ms: float) -> tuple[int, int]:
    dense, pruned = (max(1, math.ceil(block_ms / max(ms, 1e-6))) for ms in each)
    if 0.8 < dense / pruned < 1.25:
        return max(dense, pruned), max(dense, pruned)
    return dense, pruned


def _round(
    dense: Side,
    pruned: Side,
    clock: Clock,
    schedule: Schedule,
    blocks: Blocks,
    index: int,
    rng: random.Random,
    fresh: bool,
) -> None:
    padding = _padding(rng)
    if fresh:
        dense, pruned = _copies(dense, pruned, rng)
        clock.block(dense, schedule.calls[0])
        clock.block(pruned, schedule.calls[1])
    dense_first = rng.random() < 0.5
    for pair in range(schedule.pairs):
        if pair % 2 == 0 and pair:
            dense_first = rng.random() < 0.5
        _pair(dense, pruned, clock, schedule.calls, blocks, dense_first)
        dense_first = not dense_first
        blocks.round_index.append(index)
    del padding


def _pair(dense: Side, pruned: Side, clock: Clock, calls: tuple[int, int], blocks: Blocks, dense_first: bool) -> None:
    if dense_first:
        blocks.dense.append(clock.block(dense, calls[0]))
        blocks.pruned.append(clock.block(pruned, calls[1]))
    else:
        blocks.pruned.append(clock.block(pruned, calls[1]))
        blocks.dense.append(clock.block(dense, calls[0]))


def _copies(dense: Side, pruned: Side, rng: random.Random) -> tuple[Side, Side]:
    """New copies of both, in random order, so that neither always gets the better addresses."""
    if rng.random() < 0.5:
        first = _copy(dense, rng)
        return first, _copy(pruned, rng)
    first = _copy(pruned, rng)
    return _copy(dense, rng), first


def _copy(side: Side, rng: random.Random) -> Side:
    padding = _padding(rng)
    made = Side(copy.deepcopy(side.network), side.x.clone())
    del padding
    return made


def _padding(rng: random.Random) -> list[torch.Tensor]:
    """Memory of random size, taken so that what is allocated next lies elsewhere than last time."""
    return [torch.empty(64 * rng.randrange(1, 2048), dtype=torch.uint8) for _ in range(8)]


def typical(blocks: list[Block]) -> float:
    """Median milliseconds a call by the headline clock."""
    return median(block.ms for block in blocks)
