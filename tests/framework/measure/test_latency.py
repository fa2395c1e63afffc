"""Latency as a pair: what is recorded, what is refused, and that a real difference is found."""

from __future__ import annotations

import copy
import gc
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prunebench.measure import pairs, rounds
from prunebench.measure.blocks import Block, CpuClock, Side
from prunebench.measure.faults import ChangedWeights, InvalidOutput
from prunebench.measure.latency import latency
from prunebench.measure.pairs import Pair, time_pair
from prunebench.measure.significance import speedup_interval, verdict
from prunebench.measure.weights import stored
from prunebench.records import Latency, LatencyProtocol, decode, encode
from torch import Tensor, nn

QUICK = LatencyProtocol(batch=(4,), max_seconds=0.2, groups=4)


class Repeated(nn.Module):
    """So many passes, that the work of a call is known."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 32)
        self.passes = passes

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.passes):
            x = self.layer(x)
        return x


def sample() -> Tensor:
    return torch.randn(1, 32, generator=torch.Generator().manual_seed(0))


def measured(dense: nn.Module, pruned: nn.Module, protocol: LatencyProtocol = QUICK, seed: int = 0) -> Latency:
    return latency(dense, pruned, sample(), protocol, "cpu", seed)[0]


def test_a_network_that_does_a_tenth_of_the_work_is_found_to_be_faster() -> None:
    found = measured(Repeated(40), Repeated(4))
    assert verdict(found.speedup, found.speedup_low, found.speedup_high) == "faster"
    assert 4 < found.speedup < 15


def test_what_is_recorded_follows_from_the_raw_blocks() -> None:
    found = measured(Repeated(8), Repeated(4))
    again = speedup_interval(found.dense_ms, found.pruned_ms, found.round_index)
    assert (found.speedup, found.speedup_low, found.speedup_high) == pytest.approx((again.value, again.low, again.high))
    count = len(found.pruned_ms)
    assert count == len(found.dense_ms) == len(found.dense_wall_ms) == len(found.pruned_wall_ms)
    assert count == len(found.round_index)
    assert found.latency_ms == pytest.approx(sorted(found.pruned_ms)[count // 2], rel=0.2)
    assert found.throughput == pytest.approx(4 * 1000 / found.latency_ms)
    assert found.latency_p90_ms >= found.latency_ms
    assert (found.clock, found.threads, found.device, found.batch) == ("cpu", 1, "cpu", 4)
    assert 0 <= found.contention <= 1
    assert found.cold_dense_ms > 0 and found.cold_pruned_ms > 0
    assert found.conditions.keys() >= {
        "load_average",
        "steal",
        "involuntary_switches",
        "dense_calls_per_block",
        "glibc_tunables",
    }
    assert decode(encode(found), Latency) == found


def test_one_record_a_batch_size() -> None:
    protocol = LatencyProtocol(batch=(1, 3), max_seconds=0.05, groups=2)
    assert [found.batch for found in latency(Repeated(2), Repeated(2), sample(), protocol, "cpu", 0)] == [1, 3]
    assert latency(Repeated(2), Repeated(2), sample(), LatencyProtocol(batch=()), "cpu", 0) == ()


def test_the_input_may_be_made_for_each_batch_size() -> None:
    asked: list[int] = []

    def make_input(batch: int) -> Tensor:
        asked.append(batch)
        return torch.zeros(batch, 32)

    protocol = LatencyProtocol(batch=(2, 5), max_seconds=0.05, groups=2)
    latency(Repeated(2), Repeated(2), make_input, protocol, "cpu", 0)
    assert asked == [2, 5]
    with pytest.raises(ValueError, match=r"make_input\(2\) must give 2 samples, got 1"):
        latency(Repeated(2), Repeated(2), lambda batch: torch.zeros(1, 32), protocol, "cpu", 0)


def test_a_batch_is_of_different_samples_as_long_as_there_are_any() -> None:
    seen: list[list[float]] = []

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x[:, 0].tolist())
            return super().forward(x)

    samples = torch.arange(3.0)[:, None].expand(3, 32)
    latency(Watching(32, 1), nn.Linear(32, 1), samples, LatencyProtocol(batch=(2, 5), max_seconds=0.05), "cpu", 0)
    assert {tuple(row) for row in seen} == {(0, 1), (0, 1, 2, 0, 1)}


def test_p99_is_given_only_with_enough_samples() -> None:
    assert measured(Repeated(1), Repeated(1)).latency_p99_ms is None
    many = LatencyProtocol(batch=(1,), max_seconds=60, groups=240)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prunebench.measure.blocks.CpuClock.block_ms", 0.01)
        found = measured(Repeated(1), Repeated(1), many)
    assert len(found.pruned_ms) >= 459
    assert found.latency_p99_ms is not None and found.latency_p99_ms >= found.latency_p90_ms


def test_a_slow_network_gets_three_pairs_of_blocks_and_no_more_than_it_must() -> None:
    slow = LatencyProtocol(batch=(1,), max_seconds=1e-6)
    found = measured(Repeated(3), Repeated(3), slow)
    assert len(found.pruned_ms) == 3
    assert found.stopped == "time"
    assert "few-blocks" in found.flags


@pytest.mark.parametrize(
    ("dtype", "memory_format"), [("bfloat16", "contiguous"), ("float32", "channels_last"), ("float16", "channels_last")]
)
def test_type_and_memory_format_are_applied_to_both_sides_and_the_input(dtype: str, memory_format: str) -> None:
    seen: list[tuple[torch.dtype, bool]] = []

    class Watching(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            channels_last = all(t.is_contiguous(memory_format=torch.channels_last) for t in (x, self.weight))
            seen.append((x.dtype, channels_last))
            assert self.weight.dtype == x.dtype
            return super().forward(x)

    network = Watching(3, 4, 3)
    protocol = LatencyProtocol((2,), max_seconds=0.05, groups=2, dtype=dtype, memory_format=memory_format)  # type: ignore[arg-type]
    latency(network, copy.deepcopy(network), torch.randn(1, 3, 8, 8), protocol, "cpu", 0)
    assert set(seen) == {(getattr(torch, dtype), memory_format == "channels_last")}
    assert network.weight.dtype == torch.float32
    assert network.weight.is_contiguous()


def test_everything_is_as_it_was_afterwards() -> None:
    network = Repeated(2).train()
    weights = copy.deepcopy(network.state_dict())
    threads = torch.get_num_threads()
    measured(network, network)
    assert network.training
    assert gc.isenabled()
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


class Drifting(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        self.weight.mul_(0.99)
        return super().forward(x)


class Failing(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError(self.reason)


def failing(reason: str) -> Failing:
    network = Failing(32, 32)
    network.reason = reason
    return network


def test_a_network_that_changes_its_own_weights_is_refused() -> None:
    with pytest.raises(ChangedWeights, match="changed weight"):
        measured(nn.Linear(32, 32), Drifting(32, 32))


def test_a_network_that_cannot_be_copied_is_refused() -> None:
    network = nn.Linear(32, 32)
    network.mask = network.weight * 1  # what a mask not made permanent leaves behind
    with pytest.raises(InvalidOutput, match="cannot be copied"):
        measured(nn.Linear(32, 32), network)


def test_a_failure_names_the_batch_size() -> None:
    with pytest.raises(RuntimeError, match="forward failed at batch 4: shapes do not fit"):
        measured(nn.Linear(32, 32), failing("shapes do not fit"))


def test_lack_of_memory_is_told_apart() -> None:
    with pytest.raises(torch.OutOfMemoryError, match=r"forward failed at batch 4: .*allocate memory"):
        measured(nn.Linear(32, 32), failing("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"))


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


def fake_pair(clock: FakeClock, dense_ms: float = 1.0, pruned_ms: float = 1.0, seed: int = 0) -> Pair:
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


def test_the_same_seed_gives_the_same_order() -> None:
    clocks = [FakeClock(random.Random(1), 0.0) for _ in range(2)]
    for clock in clocks:
        time_pair(fake_pair(clock, seed=7), 20, 1.0)
    assert clocks[0].order == clocks[1].order


def test_a_very_slow_network_is_called_four_times_a_side_in_alternating_order() -> None:
    clock = FakeClock(random.Random(0), 0.0)
    time_pair(fake_pair(clock, 5000.0, 5000.0), 20, 1e-9)
    assert "".join(clock.order[2:]) == "ABBAAB"


def test_the_bias_of_a_copy_does_not_become_a_verdict() -> None:
    """Copies differ by 1 % for as long as they live: the interval must know, as one over blocks of one pair cannot."""
    covered = 0
    for seed in range(100):
        clock = FakeClock(random.Random(seed), 0.01)
        low, high = interval_of(time_pair(fake_pair(clock, seed=seed), 20, 5.0))
        covered += low <= 1 <= high
    assert covered >= 90


def test_a_quick_network_gets_more_calls_a_block_only_where_it_must() -> None:
    alike = time_pair(fake_pair(FakeClock(random.Random(0), 0.0), 0.1, 0.08), 4, 1.0)
    apart = time_pair(fake_pair(FakeClock(random.Random(0), 0.0), 1.0, 0.01), 4, 1.0)
    assert alike.calls[0] == alike.calls[1] >= 10
    assert apart.calls[0] <= 2 and apart.calls[1] >= 90


def test_a_steady_pair_stops_when_it_is_precise_and_a_restless_one_goes_on() -> None:
    steady = time_pair(fake_pair(FakeClock(random.Random(0), 0.0)), 20, 0.5)
    restless = time_pair(fake_pair(FakeClock(random.Random(0), 0.05)), 20, 0.5)
    assert steady.stopped == "precision"
    assert len(set(steady.round_index)) == pairs.ROUNDS < len(set(restless.round_index))


@pytest.mark.slow
def test_rounds_in_fresh_processes_are_told_apart_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    protocol = LatencyProtocol(batch=(2,), rounds=2, max_seconds=0.1, groups=2)
    network = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
    found = latency(network, copy.deepcopy(network), sample(), protocol, "cpu", 0)[0]
    assert set(found.round_index) == {0, 1}
    assert "one-process" not in found.flags
    assert len(found.dense_ms) == len(found.pruned_ms) >= 4
    assert list(tmp_path.iterdir()) == []


def test_networks_that_no_other_process_can_load_are_timed_here_and_flagged() -> None:
    class Local(nn.Linear):
        pass

    protocol = LatencyProtocol(batch=(2,), rounds=2, max_seconds=0.05, groups=2)
    found = latency(Local(32, 32), Local(32, 32), sample(), protocol, "cpu", 0)[0]
    assert "one-process" in found.flags


def test_a_fault_in_a_fresh_process_keeps_its_kind() -> None:
    assert isinstance(rounds._fault(rounds.CHANGED, "noise\nthe forward pass changed w"), ChangedWeights)
    assert str(rounds._fault(rounds.NO_MEMORY, "noise\nno memory")) == "no memory"
    assert "status 9: killed" in str(rounds._fault(9, "killed"))


def test_a_large_network_moves_tensor_by_tensor_and_computes_the_same() -> None:
    network = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32)).eval()
    pair = replace(fake_pair(FakeClock(random.Random(0), 0.0)), dense=Side(network, sample()))
    with torch.inference_mode():
        before = {name: value.data_ptr() for name, value in stored(network).items()}
        wanted = network(sample())
        held = list(network.state_dict().values())  # so that no address is given out again
        assert pair.elsewhere(in_place=True) is pair
        assert torch.equal(network(sample()), wanted)
    assert all(value.data_ptr() != before[name] for name, value in stored(network).items())
    assert len(held) == len(before)


def warmed(ms: float, wall_ms: float) -> tuple[pairs.Warmed, pairs.Warmed]:
    return pairs.Warmed(ms, wall_ms), pairs.Warmed(ms, wall_ms)


@pytest.mark.parametrize(
    ("ms", "wall_ms", "rests"), [(3.0, 3.0, False), (3.0, 6.0, True), (0.02, 0.04, False), (0.9, 9.0, False)]
)
def test_it_rests_before_long_blocks_where_others_take_the_processor(ms: float, wall_ms: float, rests: bool) -> None:
    assert pairs._schedule(warmed(ms, wall_ms), CpuClock(), 20, 3.0, 0.001).rest == rests


def test_networks_that_take_long_to_move_or_to_run_stay_where_they_are() -> None:
    clock = CpuClock()
    assert pairs._schedule(warmed(6.0, 6.0), clock, 20, 3.0, 0.11).move
    assert not pairs._schedule(warmed(6.0, 6.0), clock, 20, 3.0, 0.2).move
    assert not pairs._schedule(warmed(500.0, 500.0), clock, 20, 3.0, 0.01).move


@pytest.mark.slow
def test_compiled_networks_are_timed_compiled_both_alike_and_without_the_compiling() -> None:
    """More pairs than torch keeps compiled forms of one code: the last must still be compiled."""
    protocol = LatencyProtocol(batch=(4,), max_seconds=0.3, groups=4, compile=True)
    for seed in range(5):
        for found in latency(Repeated(20), Repeated(2), sample(), protocol, "cpu", seed):
            assert found.compile
            assert found.cold_dense_ms > 20 * found.dense_latency_ms
            assert found.calls_per_block > 1, "blocks were planned by the call that compiled"
            assert found.speedup > 1.5
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2, "nothing was compiled"


@pytest.mark.slow
def test_a_network_that_torch_cannot_compile_is_a_failure_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = LatencyProtocol(batch=(1,), max_seconds=0.1, compile=True)
    monkeypatch.setenv("CXX", "/nowhere/compiler")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nowhere/compiler"))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    with pytest.raises(RuntimeError, match="forward failed at batch 1, compiled: "):
        latency(nn.Linear(32, 32), nn.Linear(32, 32), sample(), protocol, "cpu", 0)
