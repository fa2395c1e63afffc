"""What an exchange of places is for: a network in a slow place is not called slower than its copy in a fast one."""

from __future__ import annotations

import math
import random

import pytest
import torch
from prunebench.measure.latency import pairs
from prunebench.measure.latency import placement as places
from prunebench.measure.latency.blocks import Block, Side
from prunebench.measure.latency.schedule import Schedule
from prunebench.measure.statistics import speedup_interval, verdict
from torch import nn


class BiasOfPlaces:
    """A call takes 5 % longer in one of two places, 1 % more or less by chance."""

    name = "cpu"
    block_ms = 0.5

    def __init__(self, seed: int, slow: int) -> None:
        self.rng, self.slow = random.Random(seed), slow

    def block(self, side: Side, calls: int) -> Block:
        biased = 1.05 if side.network.weight.data_ptr() == self.slow else 1.0
        ms = side.network.ms * biased * (1 + abs(self.rng.gauss(0, 0.01)))
        return Block(ms, ms, ms)


def claims(seed: int, ms: float, move: places.Move, pair_count: int) -> tuple[bool, bool]:
    """Whether two equal networks, one of them in a slow place, are called different, and whether 1 is covered."""
    sides = [Side(nn.Linear(8, 8).eval(), torch.zeros(1, 8)) for _ in range(2)]
    for side in sides:
        side.network.ms = ms
    clock = BiasOfPlaces(seed, sides[seed % 2].network.weight.data_ptr())
    pair = pairs.Pair(sides[0], sides[1], clock, random.Random(seed))
    blocks = pairs.Blocks()
    made = Schedule(pair_count, 10, (1, 1), lead=False, rest=False, move=move)
    with torch.inference_mode():
        for index in range(12):
            blocks.add(pairs._round(pair, made, index, math.inf)[0], index)
    found = speedup_interval([b.ms for b in blocks.dense], [b.ms for b in blocks.pruned], blocks.round_index)
    return verdict(found.value, found.low, found.high) != "can't tell", found.low <= 1 <= found.high


@pytest.mark.parametrize("pair_count", [1, 2, 4, 6, 16])
def test_networks_that_exchange_places_are_not_told_apart_by_them(pair_count: int) -> None:
    stayed = [claims(seed, 6.0, "stay", pair_count) for seed in range(40)]
    exchanged = [claims(seed, 6.0, "exchange", pair_count) for seed in range(40)]
    assert all(called and not covered for called, covered in stayed)
    assert sum(called for called, _ in exchanged) <= 1
    assert sum(covered for _, covered in exchanged) >= 36
