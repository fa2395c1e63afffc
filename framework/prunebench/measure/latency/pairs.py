"""Two networks timed against each other: interleaved blocks, in rounds at new addresses.

Two copies of the same weights can differ by percents in speed, by where they happen to lie in memory, and keep that
bias as long as they lie there. So a round is a pair of networks at new addresses, and the spread between rounds is what
the interval is made of.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace

from prunebench.measure.latency import placement as places
from prunebench.measure.latency.blocks import Block, Clock, Side
from prunebench.measure.latency.schedule import (
    LEAST_ROUNDS,
    REST_SECONDS,
    Schedule,
    Warmed,
    building_seconds,
    lost,
    plan,
    warm_up,
)
from prunebench.measure.statistics import LOOKED, half_normal, round_logs, t_interval

WARM_SHARE = 0.1  # of the time for one batch size, for both sides together
SECOND_LEAD = 0.25  # of the blocks: else a cost on every fifth call falls on each fifth, or on none, of four and a lead
SHORT_ROUND = 20  # calls; the next round goes on from it, or a copy of the first would never come to its fifth call
PRECISION = 0.01  # half-width of the interval at which it stops
REBUILT_PRECISION = 0.5  # times that, where another runtime builds both sides: see docs/measuring.md
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
    times_longer_when_new: tuple[float, float] = (1.0, 1.0)  # dense and pruned, against the same input again
    logs: list[float] = field(default_factory=list)  # of each round that was added, dense / pruned

    def half_width(self) -> float:
        """Of the 95 % interval of the log speed-up, over the rounds that were added; asked after each of them."""
        interval = t_interval(self.logs, LOOKED)
        return interval.high - interval.value

    def is_within(self, precision: float) -> bool:
        """Whether that half-width is at most `precision`.

        Student's quantile takes milliseconds, and each number of rounds needs one of its own. It is looked up only
        where the normal one, which is always smaller, does not say no.
        """
        return half_normal(self.logs, LOOKED) <= precision and self.half_width() <= precision

    def add(self, timed: list[tuple[Block, Block]], index: int) -> None:
        """The blocks of round `index`."""
        self.dense += [dense for dense, _ in timed]
        self.pruned += [pruned for _, pruned in timed]
        self.round_index += [index] * len(timed)
        self.logs += round_logs(
            [dense.ms for dense, _ in timed], [pruned.ms for _, pruned in timed], [index] * len(timed)
        )


@dataclass(frozen=True)
class Pair:
    """Both sides, the clock that times them, and the chance that decides who goes first."""

    dense: Side
    pruned: Side
    clock: Clock
    rng: random.Random
    lead: bool = False  # an untimed call before each block
    rest: bool = False  # a short sleep before each block
    lead_rng: random.Random = field(default_factory=lambda: random.Random(0))  # decides which leads are of two calls

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
            side.call()
            if self.lead_rng.random() < SECOND_LEAD:
                side.call()
        return self.clock.block(side, calls)

    def elsewhere(self, move: places.Move) -> Pair:
        """Both at other addresses."""
        dense, pruned = places.elsewhere(self.dense, self.pruned, move, self.rng)
        return replace(self, dense=dense, pruned=pruned)


def time_pair(
    pair: Pair, groups: int, seconds: float, *, compiled: bool = False, precision: float = PRECISION
) -> Blocks:
    """Blocks of both sides, warm-up included in `seconds`; to be called in inference mode, garbage collector off.

    At least `groups` groups where the time allows, and three pairs of blocks where it does not; more until the interval
    is as narrow as `precision`. The first calls of `compiled` networks, which compile them, are not counted in. Sides
    that another runtime builds anew have more time, for that, and stop later.
    """
    start = time.perf_counter()
    cold = pair.blocks((1, 1))
    if compiled:
        start, first = time.perf_counter(), pair.blocks((1, 1))
    else:
        first = cold
    warm = WARM_SHARE * seconds - (time.perf_counter() - start)
    if warm > 0:
        warmed = warm_up(pair.dense, pair.clock, warm / 2), warm_up(pair.pruned, pair.clock, warm / 2)
    else:  # so slow that the first calls have taken the time
        warmed = Warmed(first[0].ms, first[0].wall_ms), Warmed(first[1].ms, first[1].wall_ms)
    pair, move, move_seconds = _first_move(pair, warmed, compiled)
    rebuilt = places.is_rebuilt(pair.dense)
    if rebuilt:
        seconds, precision = seconds + building_seconds(seconds, move_seconds), precision * REBUILT_PRECISION
    left = start + seconds - time.perf_counter()
    schedule = plan(warmed, pair.clock, groups, left, move, move_seconds, rebuilt)
    blocks = Blocks(cold_ms=(cold[0].wall_ms, cold[1].wall_ms), calls=schedule.calls)
    pair = replace(pair, lead=schedule.lead, rest=schedule.rest)
    blocks.stopped = _rounds(pair, blocks, schedule, start + seconds, precision)
    return blocks


def _first_move(pair: Pair, warmed: tuple[Warmed, Warmed], compiled: bool) -> tuple[Pair, places.Move, float]:
    """How the pair comes to lie elsewhere, and how long it takes: tried, or, for large networks, reckoned."""
    move, size = places.move_of(pair.dense, pair.pruned, compiled), places.size_of(pair.dense, pair.pruned)
    if not pair.dense.is_own:
        return pair, move, 0.0
    if size > places.COPIED_BYTES and not (places.is_rebuilt(pair.dense) and move == "copy"):
        return pair, move, size / places.BYTES_PER_SECOND / (1 - lost(warmed))
    start = time.perf_counter()
    pair = pair.elsewhere(move)
    return pair, move, time.perf_counter() - start


def _rounds(pair: Pair, blocks: Blocks, schedule: Schedule, deadline: float, precision: float) -> str:
    """Fill `blocks`, and why no more."""
    start = time.perf_counter()
    for index in range(MOST_ROUNDS * schedule.least_rounds):
        began = time.perf_counter()
        share = min(1.0, (index + 1) / LEAST_ROUNDS)  # the first rounds must all find a place in the time
        timed, moved = _round(pair, schedule, index, start + share * (deadline - start))
        if schedule.pairs * min(schedule.calls) < SHORT_ROUND:
            pair = moved
        if index >= LEAST_ROUNDS and len(timed) < schedule.pairs:
            return "time"
        blocks.add(timed, index)
        if index + 1 >= schedule.least_rounds and blocks.is_within(precision):
            return "precision"
        now = time.perf_counter()
        if index + 1 >= LEAST_ROUNDS and now + (now - began) > deadline:  # as long again as the last one took
            return "time"
    return "groups"


def _round(pair: Pair, schedule: Schedule, index: int, due: float) -> tuple[list[tuple[Block, Block]], Pair]:
    """Pairs of blocks at new addresses, and what was timed.

    Fewer pairs than planned, but equally many at either address, when it is `due`.
    """
    if schedule.pairs == 1:
        if index % 2:  # four rounds have both orders at both places
            pair = pair.elsewhere(schedule.move)
        return [pair.in_order(schedule.calls, index % 2 == 0)], pair
    dense_first = pair.rng.random() < 0.5
    if schedule.move != "exchange":
        is_new = index == 0 and places.is_rebuilt(pair.dense)  # by the move that was tried
        moved = pair if is_new else pair.elsewhere(schedule.move)
        return _timed(moved, schedule, schedule.pairs, dense_first, due), moved
    now = time.perf_counter()
    first = _timed(pair, schedule, schedule.pairs // 2, dense_first, now + (due - now) / 2)
    second = _timed(pair.elsewhere("exchange"), schedule, len(first), not dense_first, due)
    return first[: len(second)] + second, pair


def _timed(pair: Pair, schedule: Schedule, count: int, dense_first: bool, due: float) -> list[tuple[Block, Block]]:
    """So many pairs of blocks, an odd one in the order given, the others in groups; at least one when it is `due`."""
    if schedule.move != "stay":
        pair.blocks(schedule.calls)
    timed = [pair.in_order(schedule.calls, dense_first)] if count % 2 else []
    while len(timed) < count and (not timed or time.perf_counter() < due):
        timed += pair.group(schedule.calls)
    return timed
