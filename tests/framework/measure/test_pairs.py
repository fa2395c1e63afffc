"""Blocks, rounds and the time they may take, by clocks that tell what is known: no test here depends on the machine."""

from __future__ import annotations

import copy
import math
import random

import pytest
import torch
from fake_time import FakeTime
from prunebench.measure.latency import pairs, schedule
from prunebench.measure.latency import placement as places
from prunebench.measure.latency.blocks import Block, CpuClock, Side
from prunebench.measure.latency.pairs import Pair, time_pair
from prunebench.measure.latency.schedule import ROUNDS, Schedule, Warmed, plan
from prunebench.measure.statistics import Interval, round_logs, speedup_interval
from torch import nn


class FakeClock:
    """Every call takes what its side is known to take, plus a bias of the copy that makes it."""

    name = "cpu"
    block_ms = 1.0

    def __init__(self, rng: random.Random, bias: float) -> None:
        self.rng, self.bias = rng, bias
        self.order: list[str] = []
        self.biases: dict[int, float] = {}
        self.alive: list[nn.Module] = []  # so that no identity is used twice

    def block(self, side: Side, calls: int) -> Block:
        if id(side.network) not in self.biases:
            self.alive.append(side.network)
            self.biases[id(side.network)] = self.rng.gauss(0, self.bias)
        ms = side.network.ms * (1 + self.biases[id(side.network)] + self.rng.gauss(0, 0.002))
        self.order.append(side.network.side)
        return Block(ms, ms, ms)


def fake_pair(clock: FakeClock | Timed, dense_ms: float = 1.0, pruned_ms: float = 1.0, seed: int = 0) -> Pair:
    sides = []
    for name, ms in (("A", dense_ms), ("B", pruned_ms)):
        network = nn.Identity()
        network.side, network.ms = name, ms
        sides.append(Side(network, torch.zeros(1)))
    return Pair(sides[0], sides[1], clock, random.Random(seed))  # type: ignore[arg-type]


def interval_of(blocks: pairs.Blocks) -> tuple[float, float]:
    dense, pruned = [block.ms for block in blocks.dense], [block.ms for block in blocks.pruned]
    found = speedup_interval(dense, pruned, blocks.round_index)
    return found.low, found.high


def test_blocks_are_interleaved_as_abba_or_baab_in_random_order() -> None:
    pair = fake_pair(clock := FakeClock(random.Random(0), 0.0))
    for _ in range(50):
        pair.group((1, 1))
    groups = {"".join(clock.order[i : i + 4]) for i in range(0, 200, 4)}
    assert groups == {"ABBA", "BAAB"}


def test_the_same_seed_gives_the_same_order(fake_time: FakeTime) -> None:
    clocks = [FakeClock(random.Random(1), 0.0) for _ in range(2)]
    for clock in clocks:
        time_pair(fake_pair(clock, seed=7), 20, 1.0)
    assert clocks[0].order == clocks[1].order


def test_a_very_slow_network_is_called_four_times_per_side(fake_time: FakeTime) -> None:
    clock = FakeClock(random.Random(0), 0.0)
    time_pair(fake_pair(clock, 5000.0, 5000.0), 20, 1e-9)
    assert "".join(clock.order[2:]) == "ABBAAB"


def test_the_bias_of_a_copy_does_not_become_a_verdict(fake_time: FakeTime) -> None:
    """Copies differ by 1 % for as long as they live: the interval must know, as one over blocks of one pair cannot."""
    covered = 0
    for seed in range(100):
        clock = FakeClock(random.Random(seed), 0.01)
        low, high = interval_of(time_pair(fake_pair(clock, seed=seed), 20, 5.0))
        covered += low <= 1 <= high
    assert covered >= 90


def test_a_quick_network_gets_more_calls_a_block_only_where_it_must(fake_time: FakeTime) -> None:
    alike = time_pair(fake_pair(FakeClock(random.Random(0), 0.0), 0.1, 0.08), 4, 1.0)
    apart = time_pair(fake_pair(FakeClock(random.Random(0), 0.0), 1.0, 0.01), 4, 1.0)
    assert alike.calls[0] == alike.calls[1] >= 10
    assert apart.calls[0] <= 2 and apart.calls[1] >= 90


def test_a_steady_pair_stops_when_it_is_precise_and_a_restless_one_goes_on(fake_time: FakeTime) -> None:
    steady = time_pair(fake_pair(FakeClock(random.Random(0), 0.0)), 20, 0.5)
    restless = time_pair(fake_pair(FakeClock(random.Random(0), 0.05)), 20, 0.5)
    assert steady.stopped == "precision"
    assert len(set(steady.round_index)) == ROUNDS < len(set(restless.round_index))


def warmed(ms: float, wall_ms: float) -> tuple[Warmed, Warmed]:
    return Warmed(ms, wall_ms), Warmed(ms, wall_ms)


@pytest.mark.parametrize(
    ("ms", "wall_ms", "rests"), [(3.0, 3.0, False), (3.0, 6.0, True), (0.02, 0.04, False), (0.9, 9.0, False)]
)
def test_it_rests_before_long_blocks_where_others_take_the_processor(ms: float, wall_ms: float, rests: bool) -> None:
    assert plan(warmed(ms, wall_ms), CpuClock(), 20, 3.0, "copy", 0.001).rest == rests


@pytest.mark.parametrize(
    ("ms", "move", "seconds", "planned"),
    [
        (6.0, "copy", 0.11, "copy"),
        (6.0, "copy", 0.2, "stay"),
        (500.0, "copy", 0.01, "stay"),
        (500.0, "exchange", 0.01, "exchange"),
        (6.0, "exchange", 0.04, "exchange"),
        (6.0, "exchange", 0.2, "stay"),
        (6.0, "stay", 0.0, "stay"),
    ],
)
def test_networks_that_take_long_to_move_or_to_run_stay_where_they_are(
    ms: float, move: places.Move, seconds: float, planned: places.Move
) -> None:
    assert plan(warmed(ms, ms), CpuClock(), 20, 3.0, move, seconds).move == planned


@pytest.mark.parametrize(("move", "pair_count"), [("copy", 2), ("move", 2), ("exchange", 1), ("stay", 1)])
def test_networks_bound_by_memory_move_even_in_fewer_than_ten_rounds(move: places.Move, pair_count: int) -> None:
    made = plan(warmed(6.0, 18.0), CpuClock(), 20, 0.6, move, 0.05 * (move != "stay"))
    assert (made.move, made.pairs) == (move, pair_count)


@pytest.mark.parametrize("move_seconds", [0.0001, 0.005, 0.02, 1.0])
def test_once_the_time_is_over_rounds_have_one_pair(move_seconds: float) -> None:
    made = plan(warmed(6.0, 6.0), CpuClock(), 1, -0.001, "copy", move_seconds)
    assert (made.move, made.pairs, made.least_rounds) == ("stay", 1, 3)


@pytest.mark.parametrize(("move_seconds", "rounds"), [(0.05, 10), (0.2, 10), (0.5, 4), (0.9, 0)])
def test_sides_that_are_built_anew_move_in_fewer_rounds(move_seconds: float, rounds: int) -> None:
    made = plan(warmed(6.0, 6.0), CpuClock(), 20, 3.0, "copy", move_seconds, rebuilt=True)
    assert (made.move, made.least_rounds) == (("copy", rounds) if rounds else ("stay", made.least_rounds))
    assert made.least_rounds * made.pairs >= 40 or rounds


def test_a_round_of_sides_that_take_long_to_build_has_more_pairs() -> None:
    """A pair of blocks takes 12 ms. Half of a building of 0.6 s lasts as long as 25, and groups are of two."""
    pairs_of = {s: plan(warmed(6.0, 6.0), CpuClock(), 20, 60.0, "copy", s, rebuilt=True).pairs for s in (0.1, 0.6, 9.0)}
    assert pairs_of == {0.1: schedule.PAIRS, 0.6: 24, 9.0: schedule.MOST_PAIRS}
    assert plan(warmed(6.0, 6.0), CpuClock(), 20, 60.0, "copy", 0.6).pairs == schedule.PAIRS


def test_building_has_time_of_its_own_for_ten_rounds() -> None:
    assert schedule.building_seconds(3.0, 0.02) == pytest.approx(0.2)
    assert schedule.building_seconds(3.0, 0.5) == 3.0
    assert schedule.building_seconds(-1.0, 0.5) == 0.0


class Timed:
    """A clock whose calls take wall time: `ms` of the processor, stretched as the machine gets busier."""

    name = "cpu"
    block_ms = 0.5

    def __init__(self, time: FakeTime, busy_from: float = math.inf, stretch: float = 1.0) -> None:
        self.time, self.busy_from, self.stretch = time, busy_from, stretch

    def block(self, side: Side, calls: int) -> Block:
        ms = side.network.ms
        wall_ms = ms * (self.stretch if self.time.now >= self.busy_from else 1.0)
        self.time.now += calls * wall_ms / 1000
        return Block(ms, wall_ms, ms)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, fake_time: FakeTime) -> list[float]:
    """Sides that another runtime builds: when each pair of them began to be built, which takes 0.35 s."""
    began: list[float] = []

    def elsewhere(dense: Side, pruned: Side, move: places.Move, rng: random.Random) -> tuple[Side, Side]:
        began.append(fake_time.now)
        fake_time.now += 0.35
        return Side(copy.copy(dense.network), dense.x), Side(copy.copy(pruned.network), pruned.x)

    monkeypatch.setattr(places, "is_rebuilt", lambda side: True)
    monkeypatch.setattr(places, "size_of", lambda dense, pruned: 1)
    monkeypatch.setattr(places, "elsewhere", elsewhere)
    return began


def test_sides_that_take_long_to_build_have_ten_rounds_all_the_same(built: list[float], fake_time: FakeTime) -> None:
    """3 s for the timing, of which ten pairs of 0.35 s and their blocks would not leave enough, and 3 s beside."""
    blocks = time_pair(fake_pair(Timed(fake_time), 2.0, 2.0), 20, 3.0, precision=0.0)
    rounds = set(blocks.round_index)
    assert 3.0 < fake_time.now <= 6.0 + 0.35
    assert len(rounds) >= ROUNDS
    assert len(built) == len(rounds), "what was built to see how long it takes is the first round's"


def test_sides_that_are_built_are_timed_twice_as_precisely(
    monkeypatch: pytest.MonkeyPatch, built: list[float], fake_time: FakeTime
) -> None:
    rebuilt = time_pair(fake_pair(FakeClock(random.Random(0), 0.02)), 20, 60.0)
    monkeypatch.setattr(places, "is_rebuilt", lambda side: False)
    copied = time_pair(fake_pair(FakeClock(random.Random(0), 0.02)), 20, 60.0)
    assert rebuilt.stopped == copied.stopped == "precision"
    for blocks in (rebuilt, copied):
        times = [[block.ms for block in side] for side in (blocks.dense, blocks.pruned)]
        assert blocks.logs == round_logs(*times, blocks.round_index), "each round is reckoned once, when it is added"
    assert rebuilt.half_width() <= pairs.PRECISION / 2 < copied.half_width() <= pairs.PRECISION


@pytest.mark.parametrize("ms", [0.05, 3.0, 55.0])
@pytest.mark.parametrize(("busy_from", "stretch"), [(0.0, 1.0), (0.0, 6.0), (0.4, 8.0), (1.5, 8.0)])
def test_the_time_is_kept_however_busy_the_machine_gets(
    ms: float, busy_from: float, stretch: float, fake_time: FakeTime
) -> None:
    clock = Timed(fake_time, busy_from, stretch)
    blocks = time_pair(fake_pair(clock, ms, ms), 20, 3.0, precision=0.0)
    two_groups = 8 * ms * stretch / 1000  # one for either half of an exchange
    assert fake_time.now <= 3.0 + two_groups
    assert len(set(blocks.round_index)) >= schedule.LEAST_ROUNDS
    counts = [blocks.round_index.count(index) for index in sorted(set(blocks.round_index))]
    assert len(set(counts[schedule.LEAST_ROUNDS :])) <= 1, "a round was cut short and kept"


def test_large_networks_are_not_moved_to_see_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, fake_time: FakeTime
) -> None:
    monkeypatch.setattr(places, "COPIED_BYTES", 0)
    monkeypatch.setattr(places, "BYTES_PER_SECOND", 10.0)
    monkeypatch.setattr(places, "elsewhere", lambda *_: pytest.fail("moved, though that takes a minute"))
    sides = [Side(nn.Linear(8, 8).eval(), torch.zeros(1, 8)) for _ in range(2)]
    for side in sides:
        side.network.ms = 1.0
    pair, move, seconds = pairs._first_move(
        Pair(sides[0], sides[1], Timed(fake_time), random.Random(0)), warmed(1.0, 4.0), compiled=False
    )
    assert move == "exchange"
    assert seconds == pytest.approx(4 * 2 * (8 * 8 + 8) * 4 / 10)
    assert pair.dense is sides[0]
    made = plan(warmed(1.0, 4.0), CpuClock(), 20, 3.0, move, seconds)
    assert made.move == "stay"


def test_both_orders_are_timed_at_both_places_even_in_rounds_of_one_pair() -> None:
    clock = FakeClock(random.Random(0), 0.0)
    pair = fake_pair(clock)
    seen = []
    exchanged = False

    def exchange(dense: Side, pruned: Side, move: places.Move, rng: random.Random) -> tuple[Side, Side]:
        nonlocal exchanged
        exchanged = not exchanged
        return dense, pruned

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "elsewhere", exchange)
        made = Schedule(1, 3, (1, 1), lead=False, rest=False, move="exchange")
        for index in range(4):
            pairs._round(pair, made, index, math.inf)
            seen.append((clock.order[-2], exchanged))
    assert set(seen) == {("A", False), ("A", True), ("B", False), ("B", True)}


def test_a_round_that_is_due_has_equally_many_blocks_at_either_place(fake_time: FakeTime) -> None:
    clock = Timed(fake_time, busy_from=0.1, stretch=10.0)
    pair = fake_pair(clock, 6.0, 6.0)
    made = Schedule(16, 10, (1, 1), lead=False, rest=False, move="exchange")
    moved: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "elsewhere", lambda dense, pruned, *_: (moved.append(1), (dense, pruned))[1])
        timed = pairs._round(pair, made, 0, 1.0)
    assert 2 <= len(timed) < 16
    assert len(timed) % 2 == 0
    assert moved == [1]


@pytest.mark.parametrize("count", [2, 3, 4, 10, 60])
def test_whether_an_interval_is_narrow_is_what_its_width_says(count: int) -> None:
    draw = random.Random(count)
    said = []
    for _ in range(200):
        blocks = pairs.Blocks(logs=[draw.gauss(0.0, 0.02) for _ in range(count)])
        limit = blocks.half_width() * draw.uniform(0.3, 1.7)
        assert blocks.is_within(limit) == (blocks.half_width() <= limit)
        said.append(blocks.is_within(limit))
    assert {True, False} == set(said)
    assert not pairs.Blocks(logs=[0.1]).is_within(1e9)


def test_no_quantile_is_looked_up_where_the_interval_is_too_wide_by_any(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(pairs, "t_interval", lambda *_: asked.append(1) or Interval(0.0, -0.001, 0.001))
    assert not pairs.Blocks(logs=[-0.5, 0.0, 0.5]).is_within(0.01) and not asked
    assert pairs.Blocks(logs=[0.0, 0.0, 0.0]).is_within(0.01) and asked
