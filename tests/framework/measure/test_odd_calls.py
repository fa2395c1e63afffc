"""Networks that a clock misjudges by repeating one call: they are flagged, and honest ones are not."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from fake_time import FakeTime
from prunebench.measure.latency.blocks import Block, Side
from prunebench.measure.latency.latency import latency
from prunebench.measure.latency.odd_calls import has_uneven_calls
from prunebench.measure.latency.pairs import Blocks, Pair, time_pair
from prunebench.measure.statistics import speedup_interval
from prunebench.records import Latency, LatencyProtocol
from torch import Tensor, nn

QUICK = LatencyProtocol(batch=(64,), groups=3, max_seconds=0.6)


class RemembersLast(nn.Module):
    """Answers at once what it was asked just before."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.last: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.last is None or not torch.equal(self.last[0], x):
            self.last = x.clone(), self.network(x)
        return self.last[1]


class RemembersAll(RemembersLast):
    """Answers at once whatever it was asked before."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.answers: dict[bytes, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        key = x.numpy().tobytes()
        if key not in self.answers:
            self.answers[key] = self.network(x)
        return self.answers[key]


def network(width: int = 512) -> nn.Module:
    return nn.Sequential(nn.Linear(256, width), nn.ReLU(), nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 10))


def timed(pruned: nn.Module, dense: nn.Module, protocol: LatencyProtocol = QUICK) -> Latency:
    (found,) = latency(dense, pruned, torch.randn(70, 256), protocol, "cpu", 0)
    return found


@pytest.mark.parametrize("kind", [RemembersLast, RemembersAll])
@pytest.mark.parametrize("batch", [1, 64])
def test_a_network_that_remembers_its_answers_is_flagged(kind: type[RemembersLast], batch: int) -> None:
    dense = network(4096)
    found = timed(kind(copy.deepcopy(dense)), dense, LatencyProtocol(batch=(batch,), groups=3, max_seconds=0.6))
    assert "remembers-inputs" in found.flags


def test_a_dense_network_that_remembers_is_flagged_as_well() -> None:
    assert "remembers-inputs" in timed(network(2048), RemembersAll(network(2048))).flags


class Costs(nn.Module):
    """Says what a call of it costs, in milliseconds: at every `period`-th five times as much."""

    def __init__(self, ms: float, period: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.ms, self.period, self.calls = ms, period, 0

    def forward(self, x: Tensor) -> float:
        self.calls += 1
        return self.ms * (5 if self.period and self.calls % self.period == 0 else 1)


class ToldClock:
    """Lets time pass as the networks say, with weather that falls on both sides alike."""

    name = "cpu"
    block_ms = 0.5

    def __init__(self, now: FakeTime, seed: int, storms: float = 0.0) -> None:
        self.now, self.rng, self.storms = now, random.Random(seed), storms

    def block(self, side: Side, calls: int) -> Block:
        ms = sum(side.call() for _ in range(calls)) / calls
        ms *= 1 + abs(self.rng.gauss(0, 0.01)) + (self.rng.expovariate(2) if self.rng.random() < self.storms else 0)
        self.now.now += ms * calls / 1000
        return Block(ms, ms, ms)


def told(now: FakeTime, ms: float, period: int, seed: int = 0, storms: float = 0.0) -> Blocks:
    sides = [Side(Costs(ms, of_side), torch.zeros(1)) for of_side in (0, period)]
    pair = Pair(sides[0], sides[1], ToldClock(now, seed, storms), random.Random(seed))
    with torch.inference_mode():
        return time_pair(pair, 20, 3.0)


def mean_ratio(blocks: Blocks) -> float:
    return sum(block.ms for block in blocks.pruned) / sum(block.ms for block in blocks.dense)


@pytest.mark.parametrize("ms", [10.0, 1.0, 0.26, 0.17, 0.126, 0.11, 0.02])
@pytest.mark.parametrize("period", [3, 5, 10])
def test_a_cost_at_every_few_calls_is_in_the_speedup_or_flagged(fake_time: FakeTime, ms: float, period: int) -> None:
    """Blocks of one call, of several, and of four with an untimed one before: every fifth is then at one place."""
    blocks, truth = told(fake_time, ms, period), 1 + 4 / period
    assert mean_ratio(blocks) == pytest.approx(truth, rel=0.25)
    interval = speedup_interval(*([b.ms for b in side] for side in (blocks.dense, blocks.pruned)), blocks.round_index)
    assert has_uneven_calls(blocks.dense, blocks.pruned) or interval.value == pytest.approx(1 / truth, rel=0.1)


def test_where_few_calls_fit_the_mean_alone_has_the_cost(fake_time: FakeTime) -> None:
    blocks = told(fake_time, 40.0, 5)
    assert len(blocks.dense) < 40
    assert mean_ratio(blocks) == pytest.approx(1.8, rel=0.25)


@pytest.mark.parametrize("storms", [0.0, 0.1, 0.3])
def test_weather_is_not_taken_for_calls_that_differ(fake_time: FakeTime, storms: float) -> None:
    found = [told(fake_time, 5.0, 0, seed, storms) for seed in range(40)]
    assert sum(has_uneven_calls(blocks.dense, blocks.pruned) for blocks in found) <= 1
