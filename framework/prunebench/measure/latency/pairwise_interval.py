"""The interval of a speed-up from its pairs of neighbouring blocks, where there are enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FROM_MS = 1.0  # a call, of either side: blocks are then single calls, and neighbours are disturbed alike
LEAST_PAIRS = 30  # the normal approximation is good from there on
MOST_PAIRS = 2000  # the averages of all pairs are 2 million then; more pairs have rounds enough
LEAST_ROUNDS = 3
CLIPPED = 2.0  # median deviations: what an outlier counts at most for how much alike a round's pairs are


def are_enough(dense_ms: Sequence[float], pruned_ms: Sequence[float], round_index: Sequence[int]) -> bool:
    """Whether pairs of neighbours tell more than the faster halves of rounds do."""
    long = len(dense_ms) > 0 and min(np.median(dense_ms), np.median(pruned_ms)) >= FROM_MS
    return bool(long) and LEAST_PAIRS <= len(dense_ms) <= MOST_PAIRS and len(set(round_index)) >= LEAST_ROUNDS


def pair_logs(
    dense_ms: Sequence[float], pruned_ms: Sequence[float], round_index: Sequence[int], level: float
) -> tuple[float, float, float]:
    """log(dense / pruned) with its bounds: Hodges and Lehmann's median of pairwise averages, and Wilcoxon's interval.

    Pairs of one round lie at the same addresses. What they have in common widens the interval by the root of the
    design effect: the squared sums of deviations by round, relative to the sum of their squares.
    """
    logs = np.log(np.asarray(dense_ms)) - np.log(np.asarray(pruned_ms))
    count = len(logs)
    first, second = np.triu_indices(count)
    averages = np.sort((logs[first] + logs[second]) / 2)
    value = float(np.median(averages))
    half = NormalDist().inv_cdf(0.5 + level / 2) * (count * (count + 1) * (2 * count + 1) / 24) ** 0.5
    cut = max(0, int(len(averages) / 2 - half))
    wider = max(1.0, _design_effect(logs - value, np.asarray(round_index))) ** 0.5
    low, high = float(averages[cut]), float(averages[len(averages) - 1 - cut])
    return value, value - wider * (value - low), value + wider * (high - value)


def _design_effect(deviations: NDArray[np.float64], round_index: NDArray[np.int64]) -> float:
    most = CLIPPED * float(np.median(np.abs(deviations)))
    clipped = np.clip(deviations, -most, most)
    squares = float((clipped**2).sum())
    if squares == 0:
        return 1.0
    sums = [clipped[round_index == index].sum() for index in np.unique(round_index)]
    return float(np.square(sums).sum()) / squares
