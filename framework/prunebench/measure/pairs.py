"""Two networks timed against each other: interleaved blocks, in rounds of fresh copies.

Two copies of the same weights can differ by percents in speed, by where they happen to lie in memory, and keep that
bias as long as they live. So a round is a pair of networks at new addresses, and the spread between rounds is what
the interval is made of.
"""

from __future__ import annotations

import copy
import math
import random
import time
from dataclasses import dataclass, field, replace

import torch

from prunebench.measure.blocks import Block, Clock, Side
from prunebench.measure.significance import LOOKED, round_logs, t_interval
from prunebench.measure.weights import byte_count, stored

WARM_SHARE = 0.1  # of the time for one batch size, for both sides together
WARM_CALLS = 10
AGREEMENT = 0.05  # between two warm-up blocks
COPIED_BYTES = 32 << 20  # a larger network's tensors move to new addresses one by one: there is no second copy of it
MOVE_SHARE = 0.5  # of the time for one batch size, at most, for moving; networks that would need more stay in place
ROUNDS = 10  # at least, where the time allows
LEAST_ROUNDS = 3  # however short the time: two can agree by chance
PAIRS = 16  # a round, where the time allows
LEAD_MS = 20.0  # only a shorter call is made once untimed before its block: the other side has emptied the caches
LEAD_CALLS = 3  # and only where it is a small part of the block, or where the blocks are of unequal length
REST_SECONDS = 0.002  # before a block: who has slept gets a time slice of its own, and is interrupted less
REST_FROM_MS = 1.0  # only where a block is a large part of a time slice,
REST_CONTENTION = 0.05  # and others took that share of the time while it warmed up
PRECISION = 0.01  # half-width of the interval at which it stops
MOST_ROUNDS = 20  # times as many as are asked for at least


@dataclass
class Blocks:
    """Raw blocks, entry i of one side timed next to entry i of the other, and how it went."""

    dense: list[Block] = field(default_factory=list)
    pruned: list[Block] = field(default_factory=list)
    round_index: list[int] = field(default_factory=list)
    cold_ms: tuple[float, float] = (0.0, 0.0)  # wall, the very first call of dense and pruned
    calls: tuple[int, int] = (1, 1)  # a block, dense and pruned
    stopped: str = "time"

    def half_width(self) -> float:
        """Of the 95 % interval of the log speed-up, over rounds."""
        dense_ms, pruned_ms = [block.ms for block in self.dense], [block.ms for block in self.pruned]
        interval = t_interval(round_logs(dense_ms, pruned_ms, self.round_index), LOOKED)
        return interval.high - interval.value


@dataclass(frozen=True)
class Schedule:
    """How the time is spent."""

    pairs: int  # of blocks a round: two are an ABBA group
    least_rounds: int
    calls: tuple[int, int]  # a block, dense and pruned
    lead: bool
    rest: bool
    move: bool  # to new addresses before each round
    round_seconds: float


@dataclass(frozen=True)
class Pair:
    """Both sides, the clock that times them, and the chance that decides who goes first."""

    dense: Side
    pruned: Side
    clock: Clock
    rng: random.Random
    lead: bool = False  # an untimed call before each block
    rest: bool = False  # a short sleep before each block

    def blocks(self, calls: tuple[int, int]) -> tuple[Block, Block]:
        """A block of each, one right after the other, in random order."""
        return self.in_order(calls, self.rng.random() < 0.5)

    def group(self, calls: tuple[int, int]) -> list[tuple[Block, Block]]:
        """Two pairs of blocks, ABBA or BAAB."""
        dense_first = self.rng.random() < 0.5
        return [self.in_order(calls, dense_first), self.in_order(calls, not dense_first)]

    def in_order(self, calls: tuple[int, int], dense_first: bool) -> tuple[Block, Block]:
        """A block of each, one right after the other."""
        if dense_first:
            dense = self._block(self.dense, calls[0])
            return dense, self._block(self.pruned, calls[1])
        pruned = self._block(self.pruned, calls[1])
        return self._block(self.dense, calls[0]), pruned

    def _block(self, side: Side, calls: int) -> Block:
        if self.rest:
            time.sleep(REST_SECONDS)
        if self.lead:
            side.network(side.x)
        return self.clock.block(side, calls)

    def elsewhere(self, in_place: bool) -> Pair:
        """Both at other addresses, in random order, so that neither always gets the better place.

        New copies, or `in_place` the same networks with every tensor moved: for large ones and for compiled ones.
        """
        if in_place:
            for side in self.rng.sample([self.dense, self.pruned], 2):
                _move(side, self.rng)
            return self
        if self.rng.random() < 0.5:
            dense = self._copy(self.dense)
            return replace(self, dense=dense, pruned=self._copy(self.pruned))
        pruned = self._copy(self.pruned)
        return replace(self, dense=self._copy(self.dense), pruned=pruned)

    def _copy(self, side: Side) -> Side:
        """A copy behind memory of random size, given back at once."""
        padding = [_padding(self.rng, side.x.device) for _ in range(8)]
        made = Side(copy.deepcopy(side.network), side.x.clone())
        del padding
        return made

    @property
    def byte_count(self) -> int:
        """What copies of both networks take."""
        held = (*stored(self.dense.network).values(), *stored(self.pruned.network).values())
        return sum(byte_count(tensor) for tensor in held)


def _move(side: Side, rng: random.Random) -> None:
    """Every tensor of the network to memory of its own, behind one of random size, given back at once."""
    for tensor in stored(side.network).values():
        if tensor.layout == torch.strided and not tensor.is_quantized:
            padding = _padding(rng, tensor.device)
            tensor.data = tensor.detach().clone(memory_format=torch.preserve_format)
            del padding


def _padding(rng: random.Random, device: torch.device) -> torch.Tensor:
    return torch.empty(64 * rng.randrange(1, 2048), dtype=torch.uint8, device=device)


def time_pair(
    pair: Pair, groups: int, seconds: float, *, compiled: bool = False, precision: float = PRECISION
) -> Blocks:
    """Blocks of both sides, warm-up included in `seconds`; to be called in inference mode, garbage collector off.

    At least `groups` groups where the time allows, and three pairs of blocks where it does not; more until the interval
    is as narrow as `precision`. The first calls of `compiled` networks, which compile them, are not counted in.
    """
    start = time.perf_counter()
    cold = pair.blocks((1, 1))
    if compiled:
        start, first = time.perf_counter(), pair.blocks((1, 1))
    else:
        first = cold
    warm = WARM_SHARE * seconds - (time.perf_counter() - start)
    if warm > 0:
        warmed = _warm(pair.dense, pair.clock, warm / 2), _warm(pair.pruned, pair.clock, warm / 2)
    else:  # so slow that the first calls have taken the time
        warmed = Warmed(first[0].ms, first[0].wall_ms), Warmed(first[1].ms, first[1].wall_ms)
    moved = time.perf_counter()
    in_place = compiled or pair.byte_count > COPIED_BYTES
    pair = pair.elsewhere(in_place)
    moved = time.perf_counter() - moved
    schedule = _schedule(warmed, pair.clock, groups, seconds - (time.perf_counter() - start), moved)
    blocks = Blocks(cold_ms=(cold[0].wall_ms, cold[1].wall_ms), calls=schedule.calls)
    pair = replace(pair, lead=schedule.lead, rest=schedule.rest)
    blocks.stopped = _rounds(pair, blocks, schedule, start + seconds, in_place, precision)
    return blocks


def _rounds(pair: Pair, blocks: Blocks, schedule: Schedule, deadline: float, in_place: bool, precision: float) -> str:
    """Fill `blocks`, and why no more."""
    for index in range(MOST_ROUNDS * schedule.least_rounds):
        _round(pair.elsewhere(in_place) if schedule.move else pair, schedule, blocks, index)
        if index + 1 >= schedule.least_rounds and blocks.half_width() <= precision:
            return "precision"
        if index + 1 >= LEAST_ROUNDS and time.perf_counter() + schedule.round_seconds > deadline:
            return "time"
    return "groups"


def _round(pair: Pair, schedule: Schedule, blocks: Blocks, index: int) -> None:
    if schedule.move:
        pair.blocks(schedule.calls)
    timed = [pair.in_order(schedule.calls, index % 2 == 0)] if schedule.pairs == 1 else []
    for _ in range(schedule.pairs // 2):
        timed += pair.group(schedule.calls)
    blocks.dense += [dense for dense, _ in timed]
    blocks.pruned += [pruned for _, pruned in timed]
    blocks.round_index += [index] * len(timed)


@dataclass(frozen=True)
class Warmed:
    """Milliseconds a call: the last block's by the headline clock, and all warm-up calls' by the wall."""

    ms: float
    wall_ms: float


def _warm(side: Side, clock: Clock, seconds: float) -> Warmed:
    """Calls until two blocks in turn agree and ten calls are made, or the time is up."""
    start, calls, made, last = time.perf_counter(), 1, 0, math.inf
    while True:
        now = clock.block(side, calls)
        made += calls
        spent = time.perf_counter() - start
        long_enough = now.ms * calls >= clock.block_ms
        settled = long_enough and made >= WARM_CALLS and abs(now.ms / last - 1) < AGREEMENT
        if settled or spent > seconds:
            return Warmed(now.ms, max(now.ms, spent * 1000 / made))
        calls, last = (calls if long_enough else 2 * calls), now.ms


def _schedule(
    warmed: tuple[Warmed, Warmed], clock: Clock, groups: int, seconds: float, move_seconds: float
) -> Schedule:
    """Ten rounds or more of up to eight groups; rounds of one pair where the time is short."""
    calls = _calls((warmed[0].ms, warmed[1].ms), clock.block_ms)
    unequal, short = calls[0] != calls[1], max(side.ms for side in warmed) < LEAD_MS
    lead = short and (unequal or min(calls) >= LEAD_CALLS)
    longest = max(side.ms * count for side, count in zip(warmed, calls, strict=True))
    rest = clock.name == "cpu" and longest >= REST_FROM_MS and _lost(warmed) > REST_CONTENTION
    pair_seconds = sum(side.wall_ms * (count + lead) for side, count in zip(warmed, calls, strict=True)) / 1000
    pair_seconds += 2 * REST_SECONDS * rest
    move = ROUNDS * move_seconds <= MOVE_SHARE * seconds
    overhead = (move_seconds + pair_seconds) * move  # a round: both move, and are called once untimed
    affordable = (seconds / ROUNDS - overhead) / pair_seconds
    pairs = 1 if affordable < 2 else 2 * min(PAIRS // 2, int(affordable / 2))
    least = max(ROUNDS if pairs > 1 else LEAST_ROUNDS, math.ceil(2 * groups / pairs))
    move = move and pairs > 1
    return Schedule(pairs, least, calls, lead, rest, move, pair_seconds * pairs + overhead * move)


def _lost(warmed: tuple[Warmed, Warmed]) -> float:
    """Share of the wall time that the headline clock did not count while warming up."""
    return 1 - sum(side.ms for side in warmed) / sum(side.wall_ms for side in warmed)


def _calls(call_ms: tuple[float, float], block_ms: float) -> tuple[int, int]:
    """Calls a block of either side; the same where they are nearly alike."""
    dense, pruned = (max(1, math.ceil(block_ms / max(ms, 1e-6))) for ms in call_ms)
    if 0.4 < dense / pruned < 2.5:
        return max(dense, pruned), max(dense, pruned)
    return dense, pruned
