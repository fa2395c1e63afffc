"""How the time for a pair is spent: warm-up, and a plan of rounds made from how long that took."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from prunebench.measure.latency.blocks import Clock, Side
from prunebench.measure.latency.placement import Move

WARM_CALLS = 10
AGREEMENT = 0.05  # between two warm-up blocks
MOVE_SHARE = 0.5  # of the time for one batch size, at most, for moving; networks that would need more stay in place,
MOVE_PAIRS = 4.0  # if it also takes longer than so many pairs of blocks
REBUILT_SHARE = 0.75  # of the time, at most, to build sides anew from a file: fewer rounds tell more than one place
BOUND_PAIRS = 0.25  # above it calls are bound by memory, and rounds of one pair in place would say what memory is like
ROUNDS = 10  # at least, where the time allows
LEAST_ROUNDS = 3  # however short the time: two can agree by chance
PAIRS = 16  # a round, where the time allows
MOST_PAIRS = 64  # where both sides are built anew: what a round says of its place is to be worth the building,
BLOCKS_SHARE = 0.5  # so its blocks may take as long as that share of it
LEAD_MS = 20.0  # only a shorter call is made once untimed before its block: the other side has emptied the caches
LEAD_CALLS = 3  # and only where it is a small part of the block, or where the blocks are of unequal length
REST_SECONDS = 0.002  # before a block: who has slept gets a time slice of its own, and is interrupted less
REST_FROM_MS = 1.0  # only where a block is a large part of a time slice,
REST_CONTENTION = 0.05  # and others took that share of the time while it warmed up


@dataclass(frozen=True)
class Warmed:
    """Milliseconds a call: the last block's by the headline clock, and all warm-up calls' by the wall."""

    ms: float
    wall_ms: float


@dataclass(frozen=True)
class Schedule:
    """How the time is spent."""

    pairs: int  # of blocks per round: two are an ABBA group
    least_rounds: int
    calls: tuple[int, int]  # a block, dense and pruned
    lead: bool
    rest: bool
    move: Move  # to new addresses: an exchange amid each round, everything else before it


def warm_up(side: Side, clock: Clock, seconds: float) -> Warmed:
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


def lost(warmed: tuple[Warmed, Warmed]) -> float:
    """Share of the wall time that the headline clock did not count while warming up."""
    return 1 - sum(side.ms for side in warmed) / sum(side.wall_ms for side in warmed)


def building_seconds(seconds: float, move_seconds: float) -> float:
    """What a timing of so many seconds may take longer where another runtime builds both sides anew for each round."""
    return min(max(0.0, seconds), ROUNDS * move_seconds)


def plan(
    warmed: tuple[Warmed, Warmed],
    clock: Clock,
    groups: int,
    seconds: float,
    move: Move,
    move_seconds: float,
    rebuilt: bool = False,
) -> Schedule:
    """Ten rounds or more of up to eight groups; rounds of one pair where the time is short.

    Fewer rounds where both sides are `rebuilt` by another runtime, and that takes long.
    """
    calls = _calls((warmed[0].ms, warmed[1].ms), clock.block_ms)
    unequal, short = calls[0] != calls[1], max(side.ms for side in warmed) < LEAD_MS
    lead = short and (unequal or min(calls) >= LEAD_CALLS)
    longest = max(side.ms * count for side, count in zip(warmed, calls, strict=True))
    rest = clock.name == "cpu" and longest >= REST_FROM_MS and lost(warmed) > REST_CONTENTION
    pair_seconds = sum(side.wall_ms * (count + lead) for side, count in zip(warmed, calls, strict=True)) / 1000
    pair_seconds += 2 * REST_SECONDS * rest
    can_pay = ROUNDS * move_seconds <= MOVE_SHARE * seconds or move_seconds <= MOVE_PAIRS * pair_seconds
    rounds = ROUNDS
    if rebuilt and not can_pay and seconds > 0:
        fewer = int(REBUILT_SHARE * seconds / move_seconds)
        can_pay = fewer >= LEAST_ROUNDS
        rounds = min(ROUNDS, fewer) if can_pay else ROUNDS
    overhead = (move_seconds + pair_seconds) * can_pay  # a round: both move, and are called once untimed
    affordable = (seconds / rounds - overhead) / pair_seconds
    most = min(MOST_PAIRS, max(PAIRS, BLOCKS_SHARE * move_seconds / pair_seconds)) if rebuilt else PAIRS
    pairs = 1 if affordable < 2 else 2 * int(min(most, affordable) / 2)
    is_bound = move_seconds > BOUND_PAIRS * pair_seconds and move != "exchange"
    if pairs == 1 and can_pay and is_bound and seconds > 0:  # where the time is over, no more than it must be
        pairs = 2
    least = max(rounds if pairs > 1 else LEAST_ROUNDS, math.ceil(2 * groups / pairs))
    moved = can_pay and (pairs > 1 or move == "exchange")
    return Schedule(pairs, least, calls, lead, rest, move if moved else "stay")


def _calls(call_ms: tuple[float, float], block_ms: float) -> tuple[int, int]:
    """Calls a block of either side; the same where they are nearly alike."""
    dense, pruned = (max(1, math.ceil(block_ms / max(ms, 1e-6))) for ms in call_ms)
    if 0.4 < dense / pruned < 2.5:
        return max(dense, pruned), max(dense, pruned)
    return dense, pruned
