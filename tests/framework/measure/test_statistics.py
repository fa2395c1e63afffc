"""Intervals, verdicts and paired tests against what is known of them."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from prunebench.measure import statistics as significance
from prunebench.measure.statistics import Interval
from scipy import stats


@pytest.mark.parametrize(
    ("freedom", "wanted"), [(1, 12.7062047), (2, 4.30265273), (4, 2.77644511), (9, 2.26215716), (200, 1.97189622)]
)
def test_the_t_quantile_is_the_one_of_the_tables(freedom: int, wanted: float) -> None:
    assert significance.t_quantile(0.975, freedom) == pytest.approx(wanted, rel=1e-8)


def test_a_t_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = random.Random(0)
    covered = 0
    for _ in range(1000):
        found = significance.t_interval([rng.gauss(3, 2) for _ in range(5)])
        covered += found.low <= 3 <= found.high
    assert 930 <= covered <= 970


def test_one_value_says_nothing_about_the_spread() -> None:
    assert significance.t_interval([2.0]) == Interval(2.0, -math.inf, math.inf)


def test_the_speedup_of_constant_blocks_is_their_ratio() -> None:
    found = significance.speedup_interval([2.0] * 8, [1.0] * 8, [0, 0, 1, 1, 2, 2, 3, 3])
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_disturbed_blocks_do_not_move_a_round_while_they_are_half() -> None:
    dense = [1.0, 50.0, 7.0, 1.0, 1.0, 3.0] * 2
    assert significance.round_logs(dense, [1.0] * 12, [0] * 12) == [0.0]


def test_the_faster_half_of_one_is_one() -> None:
    assert significance.faster_half([3.0]) == 3.0
    assert significance.faster_half([3.0, 2.0, 4.0]) == 2.0
    assert significance.faster_half([5.0, 1.0, 2.0, 9.0, 3.0, 4.0]) == 2.0


def test_a_biased_round_widens_the_interval() -> None:
    rounds = [index for index in range(4) for _ in range(4)]
    steady = significance.speedup_interval([1.0] * 16, [1.0] * 16, rounds)
    biased = significance.speedup_interval([1.0 + 0.05 * (r == 2) for r in rounds], [1.0] * 16, rounds)
    assert steady.high - steady.low < 1e-9 < 0.05 < biased.high - biased.low


def test_a_single_round_has_an_unbounded_interval_and_no_verdict() -> None:
    found = significance.speedup_interval([2.0, 2.0], [1.0, 1.0], [0, 0])
    assert found.low == 0.0
    assert significance.verdict(found.value, found.low, found.high) == "can't tell"


@pytest.mark.parametrize(
    ("speedup", "low", "high", "floor", "wanted"),
    [
        (1.10, 1.05, 1.15, 0.0, "faster"),
        (0.90, 0.85, 0.95, 0.0, "slower"),
        (1.10, 0.99, 1.22, 0.0, "can't tell"),
        (1.10, 1.01, 1.20, 0.0, "can't tell"),
        (0.91, 0.83, 0.99, 0.0, "can't tell"),
        (1.009, 1.005, 1.013, 0.0, "can't tell"),
        (0.992, 0.990, 0.994, 0.0, "can't tell"),
        (1.04, 1.03, 1.05, 0.05, "can't tell"),
        (0.96, 0.95, 0.97, 0.05, "can't tell"),
        (1.06, 1.03, 1.09, 0.05, "faster"),
    ],
)
def test_a_verdict_needs_a_clear_interval_and_an_effect_above_the_floor(
    speedup: float, low: float, high: float, floor: float, wanted: str
) -> None:
    assert significance.verdict(speedup, low, high, floor) == wanted


def test_of_a_hundred_equal_networks_one_is_called_different() -> None:
    rng = random.Random(0)
    wrong = 0
    for _ in range(2000):
        found = significance.t_interval([rng.gauss(0, 0.2) for _ in range(10)], significance.LOOKED)
        low, value, high = (math.exp(bound) for bound in (found.low, found.value, found.high))
        wrong += significance.verdict(value, low, high) != "can't tell"
    assert 8 <= wrong <= 35


def test_a_verdict_does_not_depend_on_which_network_is_called_first() -> None:
    swapped = {"faster": "slower", "slower": "faster", "can't tell": "can't tell"}
    rng = random.Random(1)
    for _ in range(200):
        low, value, high = sorted(math.exp(rng.gauss(0, 0.03)) for _ in range(3))
        there = significance.verdict(value, low, high, 0.015)
        assert significance.verdict(1 / value, 1 / high, 1 / low, 0.015) == swapped[there]


def test_the_interval_covers_the_truth_although_timing_stops_early() -> None:
    rng = random.Random(0)
    covered = 0
    for _ in range(400):
        dense = [math.exp(rng.gauss(0, 0.02)) for _ in range(10)]
        found = Interval(1, 0, 9)
        while len(dense) < 30 and math.log(found.high / found.value) > 0.01:
            dense.append(math.exp(rng.gauss(0, 0.02)))
            found = significance.speedup_interval(dense, [1.0] * len(dense), range(len(dense)))
        covered += found.low <= 1 <= found.high
    assert covered >= 0.94 * 400


def test_a_bitmap_comes_back_as_it_went() -> None:
    bits = np.random.default_rng(0).random(1001) < 0.3
    assert (significance.unpack_bits(significance.pack_bits(bits), 1001) == bits).all()


def test_the_first_sample_is_the_highest_bit() -> None:
    assert significance.pack_bits(np.array([True] + [False] * 7)) == "gA=="  # base64 of 0x80


@pytest.mark.parametrize(("lost", "won"), [(9, 1), (0, 0), (3, 30), (25, 25), (60, 20), (5200, 4800)])
def test_mcnemar_is_the_test_that_scipy_makes(lost: int, won: int) -> None:
    both = lost + won
    exact = stats.binomtest(min(lost, won), both).pvalue if both else 1.0
    corrected = stats.chi2.sf((abs(lost - won) - 1) ** 2 / both, 1) if both else 1.0
    assert significance.mcnemar_p(lost, won) == pytest.approx(exact if both <= 50 else corrected)


def test_the_interval_of_a_drop_agrees_with_the_paired_normal_one() -> None:
    rng = np.random.default_rng(2)
    dense, flips = rng.random(5000) < 0.9, rng.random(5000) < 0.05
    pruned = dense ^ flips
    found = significance.drop_interval(int((dense & ~pruned).sum()), int((pruned & ~dense).sum()), 5000)
    differences = dense.astype(float) - pruned
    half = 1.96 * differences.std(ddof=1) / math.sqrt(5000)
    assert found.value == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((differences.mean() - half, differences.mean() + half), abs=6e-4)
