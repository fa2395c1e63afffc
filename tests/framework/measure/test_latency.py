"""Latency as a pair: what is recorded, what is refused, and that a real difference is found."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from prunebench.measure.latency import fresh_processes, one_round, sides
from prunebench.measure.latency.faults import ChangedWeights, InvalidOutput
from prunebench.measure.latency.latency import latency
from prunebench.measure.latency.sides import Comparison
from prunebench.measure.statistics import speedup_interval, verdict
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
    new = {(1, 2), (2, 0), (1, 2, 0, 1, 2), (2, 0, 1, 2, 0)}  # for those that remember what they were asked
    assert {tuple(row) for row in seen} == {(0, 1), (0, 1, 2, 0, 1)} | new


def test_p99_is_given_only_with_enough_samples() -> None:
    assert measured(Repeated(1), Repeated(1)).latency_p99_ms is None
    many = LatencyProtocol(batch=(1,), max_seconds=60, groups=240)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prunebench.measure.latency.blocks.CpuClock.block_ms", 0.01)
        found = measured(Repeated(1), Repeated(1), many)
    assert len(found.pruned_ms) >= 459
    assert found.latency_p99_ms is not None and found.latency_p99_ms >= found.latency_p90_ms


def test_a_slow_network_gets_three_pairs_of_blocks_and_no_more() -> None:
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


def test_networks_that_cannot_be_sent_are_timed_here_and_flagged() -> None:
    class Local(nn.Linear):
        pass

    protocol = LatencyProtocol(batch=(2,), rounds=2, max_seconds=0.05, groups=2)
    found = latency(Local(32, 32), Local(32, 32), sample(), protocol, "cpu", 0)[0]
    assert "one-process" in found.flags


def test_a_fault_in_a_fresh_process_keeps_its_kind() -> None:
    assert isinstance(
        fresh_processes._fault(fresh_processes.CHANGED, "noise\nthe forward pass changed w"), ChangedWeights
    )
    assert str(fresh_processes._fault(fresh_processes.NO_MEMORY, "noise\nno memory")) == "no memory"
    assert "status 9: killed" in str(fresh_processes._fault(9, "killed"))


@pytest.mark.parametrize(
    "fault", [MemoryError(), torch.OutOfMemoryError("no memory"), RuntimeError("can't allocate memory: 9 bytes")]
)
def test_lack_of_memory_in_a_fresh_process_is_told_apart(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_memory(*_: object) -> None:
        raise fault

    monkeypatch.setattr(one_round, "blocks_of", no_memory)
    x = torch.zeros(1, 2)
    fresh_processes._save(tmp_path, Comparison(nn.Linear(2, 2), nn.Linear(2, 2), x, QUICK, torch.device("cpu"), 0))
    status = one_round.main(tmp_path, 0)
    known = fresh_processes._fault(status, capsys.readouterr().err.strip())
    assert isinstance(known, torch.OutOfMemoryError)
    assert str(known) == (str(fault) or "MemoryError")


def test_another_error_in_a_fresh_process_keeps_its_traceback(tmp_path: Path) -> None:
    x = torch.zeros(1, 3)
    fresh_processes._save(tmp_path, Comparison(nn.Linear(2, 2), nn.Linear(2, 2), x, QUICK, torch.device("cpu"), 0))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        one_round.main(tmp_path, 0)


@pytest.mark.slow
def test_compiled_networks_are_timed_alike_without_the_compiling() -> None:
    """More pairs than torch keeps compiled forms of one code: the last must still be compiled."""
    protocol = LatencyProtocol(batch=(4,), max_seconds=0.3, groups=4, compile=True)
    speedups = []
    for seed in range(5):
        for found in latency(Repeated(20), Repeated(2), sample(), protocol, "cpu", seed):
            assert found.compile
            assert found.cold_dense_ms > 20 * found.dense_latency_ms
            assert found.calls_per_block > 1, "blocks were planned by the call that compiled"
            speedups.append(found.speedup)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2, "nothing was compiled"
    assert max(speedups) > 1.5, "20 layers against 2, in the quietest of five moments"


class Scaled(Repeated):
    """A forward pass with a closure (super) and a keyword's default, which a copy of its code has to keep."""

    def forward(self, x: Tensor, *, scale: float = 0.5) -> Tensor:
        return super().forward(x) * scale


def test_compiled_sides_share_no_code_and_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(torch, "compile", lambda call, **options: asked.append((call, options)) or call)
    network, protocol = Scaled(2).eval(), LatencyProtocol(compile=True)
    made = [sides.side(network, sample(), protocol, torch.device("cpu"), sides.Way()) for _ in range(2)]
    calls = [nn.Module._call_impl, *(call for call, _ in asked)]
    forwards = [Scaled.forward, *(one.network.forward for one in made)]
    assert len({id(call.__code__) for call in (*calls, *forwards)}) == 6
    assert [options for _, options in asked] == [{"dynamic": False}] * 2
    with torch.no_grad():
        assert all(torch.equal(one.network(one.x), network(sample())) for one in made)


@pytest.mark.slow
def test_of_two_equal_networks_each_is_compiled() -> None:
    """One would otherwise run in what was compiled for the other, a percent and a half slower or faster."""
    protocol = LatencyProtocol(batch=(1,), max_seconds=0.3, groups=4, compile=True)
    for seed in range(2):
        (found,) = latency(Repeated(5), Repeated(5), sample(), protocol, "cpu", seed)
        assert min(found.cold_dense_ms, found.cold_pruned_ms) > 20 * found.latency_ms


@pytest.mark.slow
def test_a_network_that_torch_cannot_compile_is_a_failure_with_the_reason() -> None:
    import torch._inductor.config as settings  # monkeypatch could not undo what it changes in there

    protocol = LatencyProtocol(batch=(1,), max_seconds=0.1, compile=True)
    no_compiler = settings.patch({"cpp.cxx": (None, "/nowhere/compiler")})
    no_caches = torch.compiler.config.patch(force_disable_caches=True)
    with no_compiler, no_caches, pytest.raises(RuntimeError, match="forward failed at batch 1, compiled: "):
        latency(nn.Linear(32, 32), nn.Linear(32, 32), sample(), protocol, "cpu", 0)
