"""Networks that a clock misjudges by repeating one call: those that remember an answer, those whose calls differ.

Every timed call has the same input, so that both sides are timed on what they find in their caches. A network that
keeps its last answer would be thousands of times "faster"; so each side is also timed on inputs that it has not seen,
and on the same ones again. And a round takes the faster half of its blocks, because the slower half is weather: a cost
that falls on every fifth call would be taken for weather, were it not for the other side, which has the same weather.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from statistics import median

import torch

from prunebench import samples
from prunebench.measure.latency.blocks import Block, Clock, Side
from prunebench.measure.latency.sides import Comparison, Way, ready_input
from prunebench.measure.runtimes.artifact import Runner
from prunebench.measure.statistics import faster_half, t_interval
from prunebench.samples import Tree

FRESH_INPUTS = 12  # of a side, at most: two looks of
LOOK_INPUTS = 6  # at most,
LEAST_INPUTS = 3  # at least, however slow the network,
SHARE = 0.05  # of the time, where more are tried
WARM_CALLS = 2  # before each, unless
LONG_MS = 50.0  # a call takes longer: it fills the caches by itself
LEAST_MS = 1e-6  # that a call is taken to last
REMEMBERS = 2.0  # times as long for a new input: what caches of the processor do stays below

CHUNKS = 10  # of the blocks, in their order
CHUNK_PAIRS = 5  # at least; a cost on every fifth call falls into each
LEAST_CHUNKS = 4
UNEVEN = 0.05  # of a side's mean: below it nobody needs to know
CERTAIN = 0.999  # of chance: every timing of every trial is looked at


def times_longer_when_new(comparison: Comparison, sides: tuple[Side, Side], clock: Clock) -> tuple[float, float]:
    """How much longer dense and pruned take for an input that is new to them than for the same one at once again.

    By the quickest and by the middle of several calls, whichever is less. 1 where all samples are alike, so that no
    input is new, and in a runtime that has its input bound, which no call can change. To be called in inference mode,
    after the timing proper.
    """
    if isinstance(sides[0].network, Runner):
        return 1.0, 1.0
    first, second = (
        _times_longer(side, x, way, clock, comparison)
        for side, x, way in zip(sides, comparison.inputs, comparison.ways, strict=True)
    )
    return first, second


def _times_longer(side: Side, own: Tree, way: Way, clock: Clock, comparison: Comparison) -> float:
    """One look, and where it looks odd another one on other inputs: when it is busy a few calls may all be unlucky."""
    inputs = _new_inputs(own, comparison.spare)
    found = _look(side, way, clock, comparison, itertools.islice(inputs, LOOK_INPUTS))
    if found is None or found <= REMEMBERS:
        return found or 1.0
    again = _look(side, way, clock, comparison, inputs, least=LOOK_INPUTS)
    return found if again is None else min(found, again)


def _look(
    side: Side, way: Way, clock: Clock, comparison: Comparison, inputs: Iterator[Tree], least: int = LEAST_INPUTS
) -> float | None:
    """None where there is no new input."""
    protocol, start = comparison.protocol, time.perf_counter()
    new_ms: list[float] = []
    again_ms: list[float] = []
    for x in inputs:
        other = Side(side.network, ready_input(x, protocol, comparison.device, way))
        if not new_ms or new_ms[-1] < LONG_MS:
            clock.block(side, WARM_CALLS)  # what made the input has taken the network out of the caches
        new_ms.append(clock.block(other, 1).ms)
        again_ms.append(clock.block(other, 1).ms)
        if len(new_ms) >= least and time.perf_counter() - start > SHARE * protocol.max_seconds:
            break
    if not new_ms:
        return None
    return min(min(new_ms) / max(min(again_ms), LEAST_MS), median(new_ms) / max(median(again_ms), LEAST_MS))


def _new_inputs(own: Tree, beside: Tree | None) -> Iterator[Tree]:
    """Windows on the samples and those behind them: as many samples, of the same kind, none in its old place."""
    batch = samples.count(own)
    spare = own if beside is None else beside
    count = samples.count(spare)
    for shift in range(1, FRESH_INPUTS + 1):
        both = samples.joined([own, samples.rows(spare, torch.arange(shift) % count)])
        window = samples.rows(both, slice(shift, shift + batch))
        if not _equal(window, own):
            yield window


def _equal(one: Tree, other: Tree) -> bool:
    return all(torch.equal(a, b) for a, b in zip(samples.leaves(one), samples.leaves(other), strict=True))


def has_uneven_calls(dense: Sequence[Block], pruned: Sequence[Block]) -> bool:
    """Whether the calls of one side differ among themselves in a way that those of the other do not.

    The blocks are cut into up to ten pieces. In each, by how much the mean of a side is above the mean of its faster
    half is compared with the same of the other side. False where there are too few blocks to tell.
    """
    size = max(CHUNK_PAIRS, math.ceil(len(dense) / CHUNKS))
    starts = range(0, len(dense) - size + 1, size)
    if len(starts) < LEAST_CHUNKS:
        return False
    found = [_tail(pruned[at : at + size]) - _tail(dense[at : at + size]) for at in starts]
    interval = t_interval(found, CERTAIN)
    return abs(interval.value) > UNEVEN and interval.low * interval.high > 0


def _tail(blocks: Sequence[Block]) -> float:
    """log(mean / mean of the faster half)."""
    times = [block.ms for block in blocks]
    return math.log(math.fsum(times) / len(times) / faster_half(times))
