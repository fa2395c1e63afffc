"""What the raw numbers allow to say: intervals, verdicts and paired tests, in plain Python.

The views say the same by macros (`store/views/00_macros.sql`); a test compares the two.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prunebench.measure.latency import pairwise_interval as neighbours

Verdict = Literal["faster", "slower", "can't tell"]
Bits = NDArray[np.bool_]

SMALLEST_EFFECT = 0.01  # a difference below one percent is nobody's reason to prune
FAST_SHARE = 0.5
STRICTER = 1.25  # makes about 99 % out of the interval below: Student's t with 9 degrees, 3.25 / 2.57
EXACT_COUNT = 50  # samples that only one network gets right, up to which McNemar's test is the exact binomial
Z95 = 1.959963984540054
LOOKED = 0.97  # of a single look: timing stops when the interval is narrow, which 95 % would not survive


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds that hold the truth at the level asked for."""

    value: float
    low: float
    high: float


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean and Student-t interval; a single value has an infinite one."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf)
    half = t_quantile(0.5 + level / 2, len(values) - 1) * _standard_error(values, mean)
    return Interval(mean, mean - half, mean + half)


def half_normal(values: Sequence[float], level: float = 0.95) -> float:
    """Half-width of the interval as if the values' spread were known: never more than that of `t_interval`."""
    if len(values) < 2:
        return math.inf
    return NormalDist().inv_cdf(0.5 + level / 2) * _standard_error(values, math.fsum(values) / len(values))


def _standard_error(values: Sequence[float], mean: float) -> float:
    """Of the mean of at least two values."""
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def round_logs(dense_ms: Sequence[float], pruned_ms: Sequence[float], round_index: Sequence[int]) -> list[float]:
    """log(dense / pruned) of each round, from the faster half of either side's blocks in it.

    Whatever disturbs a block makes it longer, on a busy machine by tens of percents: the slower half is disturbance.
    """
    rows = zip(round_index, dense_ms, pruned_ms, strict=True)
    rounds = (list(found) for _, found in groupby(rows, key=lambda row: row[0]))
    return [
        math.log(faster_half([row[1] for row in found]) / faster_half([row[2] for row in found])) for found in rounds
    ]


def faster_half(times: Sequence[float]) -> float:
    """Mean of the smaller half, of at least one."""
    count = max(1, math.floor(len(times) * FAST_SHARE))
    return math.fsum(sorted(times)[:count]) / count


def speedup_interval(
    dense_ms: Sequence[float],
    pruned_ms: Sequence[float],
    round_index: Sequence[int],
    level: float = LOOKED,
    *,
    by_rounds: bool = False,
    by_sessions: bool = False,
) -> Interval:
    """Speed-up with its 95 % interval: Student-t over the rounds' log ratios, so that a round's own bias counts.

    Many blocks of a single call are judged by the ratios of neighbours (`latency/pairwise_interval.py`). `by_rounds`
    turns that off for fresh processes: a few of them are too few to tell what each has of its own. `by_sessions` says
    that rounds are sessions of another runtime, which may be few as well: what they have of their own, by which the
    neighbours' interval is widened, is then an estimate from so many, and widened to what Student's t says of that.
    """
    if not by_rounds and neighbours.are_enough(dense_ms, pruned_ms, round_index):
        logs = Interval(*neighbours.pair_logs(dense_ms, pruned_ms, round_index, level))
        if by_sessions:
            logs = _wider(logs, _t_over_normal(0.5 + level / 2, len(set(round_index)) - 1))
    else:
        logs = t_interval(round_logs(dense_ms, pruned_ms, round_index), level)
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(min(logs.high, 700.0)))


def _wider(found: Interval, times: float) -> Interval:
    return Interval(
        found.value, found.value - times * (found.value - found.low), found.value + times * (found.high - found.value)
    )


def _t_over_normal(probability: float, freedom: int) -> float:
    return t_quantile(probability, freedom) / NormalDist().inv_cdf(probability)


def verdict(speedup: float, low: float, high: float, floor: float = 0.0) -> Verdict:
    """`faster` or `slower` where the effect exceeds one percent and the A/A floor, and is no chance.

    `low` and `high` are the 95 % interval; a verdict needs it to exclude 1 even when it is 1.25 times as wide, which
    is about 99 %: of a hundred networks that are neither, one may be called so, not five.
    """
    least = math.log1p(max(SMALLEST_EFFECT, floor))
    effect = math.log(speedup)
    if low > 0 and effect > max(least, STRICTER * (effect - math.log(low))):
        return "faster"
    if -effect > max(least, STRICTER * (math.log(high) - effect)):
        return "slower"
    return "can't tell"


def pack_bits(correct: Bits) -> str:
    """Base64 of a bitmap, the first sample in the highest bit of the first byte."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode("ascii")


def unpack_bits(text: str, count: int) -> Bits:
    """The `count` booleans that `pack_bits` wrote."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(np.bool_)


def pack_values(values: NDArray[np.float32]) -> str:
    """Base64 of little-endian float32, in order."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def mcnemar_statistic(lost: int, won: int) -> float:
    """Chi-squared with continuity correction, one degree of freedom; 0 where the networks never differ."""
    return max(abs(lost - won) - 1, 0) ** 2 / (lost + won) if lost + won else 0.0


def mcnemar_p(lost: int, won: int) -> float:
    """McNemar's two-sided p for two networks on the same samples: `lost` are those that only the dense one gets right,
    `won` those that only the pruned one does. Exact (binomial) up to 50 of these, by `mcnemar_statistic` above.
    """
    both = lost + won
    if both == 0:
        return 1.0
    if both > EXACT_COUNT:
        return math.erfc(math.sqrt(mcnemar_statistic(lost, won) / 2))
    return min(1.0, 2 * math.fsum(_coin(both, heads) for heads in range(min(lost, won) + 1)))


def _coin(tosses: int, heads: int) -> float:
    return float(math.comb(tosses, heads) / 2**tosses)


def drop_interval(lost: int, won: int, count: int) -> Interval:
    """Dense - pruned accuracy on the same `count` samples, with Agresti and Min's 95 % interval.

    Half a sample is added to each of the four counts (both right, only dense, only pruned, neither), which keeps the
    interval honest where few samples differ. `value` is the plain difference of the accuracies. Source: Agresti and
    Min, Simple improved confidence intervals for comparing matched proportions, Statistics in Medicine 24 (2005).
    """
    middle = (lost - won) / (count + 2)
    half = Z95 * math.sqrt(max(lost + won + 1 - (lost - won) ** 2 / (count + 2), 0)) / (count + 2)
    return Interval((lost - won) / count, max(-1.0, middle - half), min(1.0, middle + half))


def drop_verdict(lost: int, won: int, count: int) -> Literal["worse", "better", "can't tell"]:
    """What `drop_interval` says of the pruned network."""
    found = drop_interval(lost, won, count)
    return "worse" if found.low > 0 else "better" if found.high < 0 else "can't tell"


@lru_cache
def t_quantile(probability: float, freedom: int) -> float:
    """The value that Student's t with `freedom` degrees stays below with `probability` in (0.5, 1)."""
    return _root(lambda t: 1 - 0.5 * _beta(freedom / 2, 0.5, freedom / (freedom + t * t)) - probability)


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    while rising(high) < 0:
        high *= 2
    while low < (middle := (low + high) / 2) < high:  # until no number lies between them
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return middle


def _beta(a: float, b: float, x: float) -> float:
    """Regularized incomplete beta function, by its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    fraction = 0.0
    for k in range(200, 0, -1):
        fraction = _beta_term(a, b, x, k) / (1 + fraction)
    return math.exp(front) / a / (1 + fraction)


def _beta_term(a: float, b: float, x: float, k: int) -> float:
    m = k // 2
    if k % 2 == 0:
        return m * (b - m) * x / ((a + k - 1) * (a + k))
    return -(a + m) * (a + b + m) * x / ((a + k - 1) * (a + k))
