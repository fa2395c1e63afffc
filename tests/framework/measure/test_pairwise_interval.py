"""Intervals from pairs of neighbouring blocks: they hold the truth, also where rounds have a bias of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from prunebench.measure.latency import pairwise_interval as neighbours
from prunebench.measure.latency.blocks import Block
from prunebench.measure.latency.latency import _record
from prunebench.measure.latency.pairs import Blocks
from prunebench.measure.latency.sides import Comparison
from prunebench.measure.statistics import round_logs, speedup_interval, t_interval
from prunebench.records import LatencyProtocol
from torch import nn

LEVEL = 0.97


def blocks(rng: np.random.Generator, rounds: int, pairs: int, bias: float = 0.0, effect: float = 0.0):
    """Dense and pruned milliseconds per call, and their round: a common weather, noise of each, a bias per round."""
    weather = rng.exponential(0.3, rounds * pairs)
    biases = np.repeat(rng.normal(0, bias, rounds), pairs) if bias else 0.0
    dense = 3 * np.exp(weather + rng.normal(0, 0.03, rounds * pairs) + biases + effect)
    pruned = 3 * np.exp(weather + rng.normal(0, 0.03, rounds * pairs))
    return list(dense), list(pruned), [index for index in range(rounds) for _ in range(pairs)]


@pytest.mark.parametrize("bias", [0.0, 0.01])
def test_the_interval_holds_the_truth_with_and_without_a_bias_of_rounds(bias):
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        value, low, high = neighbours.pair_logs(*blocks(rng, 10, 12, bias, effect=0.05), LEVEL)
        held += low <= 0.05 <= high
        assert low <= value <= high
    assert held >= 0.93 * 300


def test_it_is_by_hand_the_median_of_pairwise_averages():
    dense = [math.e**x for x in (0.0, 0.1, 0.5)]  # averages: 0, 0.05, 0.25, 0.1, 0.3, 0.5 -> between 0.1 and 0.25
    value, low, high = neighbours.pair_logs(dense, [1.0] * 3, [0, 1, 2], LEVEL)
    assert value == pytest.approx(0.175)
    assert low == pytest.approx(0.0) and high == pytest.approx(0.5)  # three pairs exclude nothing


def test_what_disturbs_both_neighbours_alike_does_not_count():
    rng = np.random.default_rng(0)
    dense, pruned, rounds = blocks(rng, 8, 10)
    stormy = [(d * s, p * s) for d, p, s in zip(dense, pruned, rng.uniform(1, 5, 80), strict=True)]
    calm = neighbours.pair_logs(dense, pruned, rounds, LEVEL)
    storm = neighbours.pair_logs([d for d, _ in stormy], [p for _, p in stormy], rounds, LEVEL)
    assert storm == pytest.approx(calm)


def test_a_bias_of_rounds_widens_the_interval():
    rng = np.random.default_rng(1)
    _, low, high = neighbours.pair_logs(*blocks(rng, 8, 16), LEVEL)
    _, biased_low, biased_high = neighbours.pair_logs(*blocks(rng, 8, 16, bias=0.05), LEVEL)
    assert biased_high - biased_low > 2 * (high - low)


@pytest.mark.parametrize(
    ("milliseconds", "rounds", "pairs", "enough"),
    [(3.0, 10, 8, True), (3.0, 5, 4, False), (0.3, 10, 16, False), (3.0, 2, 40, False), (3.0, 200, 16, False)],
)
def test_few_pairs_short_calls_and_two_rounds_are_left_to_the_rounds(milliseconds, rounds, pairs, enough):
    times, index = [milliseconds] * rounds * pairs, [i for i in range(rounds) for _ in range(pairs)]
    assert neighbours.are_enough(times, times, index) is enough
    assert not neighbours.are_enough([], [], [])


def test_a_speedup_of_many_long_blocks_is_that_of_neighbours():
    rng = np.random.default_rng(2)
    measured = blocks(rng, 10, 8, effect=0.05)
    found, logs = speedup_interval(*measured), neighbours.pair_logs(*measured, LEVEL)
    assert (found.value, found.low, found.high) == pytest.approx(tuple(map(math.exp, logs)))
    by_rounds = speedup_interval(*measured, by_rounds=True)
    rounds = t_interval(round_logs(*measured), LEVEL)
    assert (by_rounds.value, by_rounds.low) == pytest.approx((math.exp(rounds.value), math.exp(rounds.low)))
    equal = speedup_interval([3.0] * 80, [3.0] * 80, measured[2])
    assert (equal.value, equal.low, equal.high) == (1.0, 1.0, 1.0)


def test_few_sessions_widen_the_interval_to_what_students_t_says():
    """2.353 and 1.645 are the 95th percentiles of Student's t with three degrees of freedom and of the normal one."""
    measured = blocks(np.random.default_rng(4), 4, 12, bias=0.03)
    plain, wider = (speedup_interval(*measured, level=0.9, by_sessions=way) for way in (False, True))
    for bound in ("low", "high"):
        ratio = math.log(getattr(wider, bound) / wider.value) / math.log(getattr(plain, bound) / plain.value)
        assert ratio == pytest.approx(2.3534 / 1.6449, rel=1e-4)
    assert wider.value == plain.value


@pytest.mark.parametrize("rounds", [4, 10])
def test_the_interval_of_few_sessions_that_differ_holds_the_truth(rounds):
    """Each has 3 % of its own, a pair of blocks 4 %: without Student's t the interval of four holds it too rarely."""
    rng = np.random.default_rng(6)
    held = {True: 0, False: 0}
    for _ in range(200):
        measured = blocks(rng, rounds, 12, bias=0.03, effect=0.05)
        for way in held:
            found = speedup_interval(*measured, by_sessions=way)
            held[way] += found.low <= math.exp(0.05) <= found.high
    assert held[True] >= 0.94 * 200
    assert held[False] < held[True]


def test_sessions_of_another_runtime_are_judged_as_such():
    dense, pruned, rounds = blocks(np.random.default_rng(3), 5, 12)
    timed = [[Block(ms, ms, ms) for ms in side] for side in (dense, pruned)]
    network, x = nn.Identity(), torch.zeros(64, 1)
    for runtime in ("torch", "onnxruntime", "openvino", "executorch"):
        asked = Comparison(network, network, x, LatencyProtocol(runtime=runtime), torch.device("cpu"), 0)
        found = _record(Blocks(*timed, rounds), asked, 1.0, {}, ())
        wanted = speedup_interval(dense, pruned, rounds, by_sessions=runtime != "torch")
        assert (found.speedup_low, found.speedup_high) == pytest.approx((wanted.low, wanted.high), rel=1e-6)


@pytest.mark.parametrize("processes", [1, 5])
def test_fresh_processes_are_judged_by_rounds(processes):
    dense, pruned, rounds = blocks(np.random.default_rng(3), 5, 12)
    timed = [[Block(ms, ms, ms) for ms in side] for side in (dense, pruned)]
    network, x = nn.Identity(), torch.zeros(64, 1)
    asked = Comparison(network, network, x, LatencyProtocol(rounds=processes), torch.device("cpu"), 0)
    found = _record(Blocks(*timed, rounds), asked, 1.0, {}, ())
    wanted, other = (speedup_interval(dense, pruned, rounds, by_rounds=way) for way in (processes > 1, processes == 1))
    kept_as_float32 = pytest.approx((wanted.value, wanted.low, wanted.high), rel=1e-6)
    assert (found.speedup, found.speedup_low, found.speedup_high) == kept_as_float32
    assert (other.value, other.low, other.high) != kept_as_float32
