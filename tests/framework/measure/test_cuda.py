"""Timing and memory on CUDA: the logic against a card that is played, the numbers where there is a real one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from prunebench.measure import memory
from prunebench.measure.latency import conditions
from prunebench.measure.latency import latency as timing
from prunebench.measure.latency.blocks import Block, CpuClock, CudaClock, Side, WallClock, clock_for
from prunebench.measure.latency.pairs import Blocks
from prunebench.measure.latency.sides import Comparison
from prunebench.records import LatencyProtocol
from torch import Tensor, nn

CARD = torch.device("cuda:0")


class PlayedCard:
    """A card that notes what is asked of it: every call of a network takes `call_ms`, as its events tell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call_ms: float) -> None:
        self.log: list[str] = []
        self.now, self.call_ms = 0.0, call_ms
        monkeypatch.setattr(torch.cuda, "Event", self.event)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda *device: self.log.append("drained"))
        monkeypatch.setattr(torch.cuda, "device", self.device)

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        self.log.append(f"on {device}")
        yield

    def event(self, enable_timing: bool) -> PlayedEvent:
        assert enable_timing
        return PlayedEvent(self)

    def __call__(self, x: Tensor) -> Tensor:
        self.log.append("call")
        self.now += self.call_ms
        return x


class PlayedEvent:
    def __init__(self, card: PlayedCard) -> None:
        self.card, self.at = card, 0.0

    def record(self) -> None:
        self.card.log.append("event")
        self.at = self.card.now

    def elapsed_time(self, last: PlayedEvent) -> float:
        assert self.card.log[-1] == "drained", "an event is read only after the device is drained"
        return last.at - self.at


def test_a_block_is_events_around_the_calls_between_two_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    card = PlayedCard(monkeypatch, call_ms=3.0)
    block = CudaClock(CARD).block(Side(card, torch.zeros(1)), 4)  # type: ignore[arg-type]
    assert card.log == ["on cuda:0", "drained", "event", *["call"] * 4, "event", "drained"]
    assert block.ms == pytest.approx(3.0)
    assert 0 < block.host_ms <= block.wall_ms


@pytest.mark.parametrize(
    ("device", "threads", "kind"),
    [("cuda:0", 1, CudaClock), ("cuda:0", 4, CudaClock), ("cpu", 1, CpuClock), ("cpu", 2, WallClock)],
)
def test_the_clock_is_that_of_the_device(device: str, threads: int, kind: type) -> None:
    assert isinstance(clock_for(torch.device(device), threads), kind)


def blocks(dense_host_ms: float, pruned_host_ms: float) -> Blocks:
    """Twenty pairs of blocks of one millisecond a call on the device."""
    sides = [[Block(1.0, 1.1, host)] * 20 for host in (dense_host_ms, pruned_host_ms)]
    return Blocks(dense=sides[0], pruned=sides[1], round_index=[index // 2 for index in range(20)])


@pytest.mark.parametrize(
    ("dense", "pruned", "is_bound"), [(0.2, 0.3, False), (0.89, 0.89, False), (0.2, 0.95, True), (0.95, 0.2, True)]
)
def test_a_pair_is_launch_bound_where_the_host_is_as_busy_as_the_device(
    dense: float, pruned: float, is_bound: bool
) -> None:
    assert ("launch-bound" in timing._flags(blocks(dense, pruned), CudaClock(CARD), 0.0, {})) == is_bound
    assert "launch-bound" not in timing._flags(blocks(1.0, 1.0), CpuClock(), 0.0, {}), "on a CPU it always is"


def test_a_few_slow_launches_do_not_make_a_pair_launch_bound() -> None:
    some = blocks(0.2, 0.2)
    some.pruned[:9] = [replace(block, host_ms=5.0) for block in some.pruned[:9]]
    assert "launch-bound" not in timing._flags(some, CudaClock(CARD), 0.0, {})


@pytest.mark.parametrize(("reasons", "flagged"), [([], False), (["SwPowerCap"], True)])
def test_a_card_that_slows_itself_down_is_flagged(reasons: list[str], flagged: bool) -> None:
    assert ("throttled" in timing._flags(blocks(0.2, 0.2), CudaClock(CARD), 0.0, {"throttled_by": reasons})) == flagged


def test_a_record_of_a_card_has_its_events_clocks_and_no_contention(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"sm_clock_mhz": 1980, "throttled_by": ["SwPowerCap"]}
    monkeypatch.setattr(timing, "gpu_state", lambda device: state)
    told = {**timing._card(CARD), "load_average": 1.0}
    asked = Comparison(nn.Identity(), nn.Identity(), torch.zeros(8, 1), LatencyProtocol(), CARD, 0)
    record = timing._record(blocks(0.95, 0.2), asked, 1.0, told, ())
    assert (record.clock, record.device, record.contention) == ("cuda", "cuda:0", 0.0)
    assert record.flags == ("launch-bound", "throttled")
    assert record.conditions["sm_clock_mhz"] == 1980 and "cudnn_tf32" in record.conditions
    assert record.dense_wall_ms[0] == pytest.approx(1.1) and record.dense_ms[0] == 1.0
    assert timing._card(torch.device("cpu")) == {}


def test_peak_memory_on_a_card_is_weights_input_and_allocations(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append("drained"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5000)  # our weights and what others hold
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: asked.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5700)
    network = nn.Linear(10, 3)
    network.register_forward_hook(lambda *_: asked.append("called"))
    found = memory.peak_memory_bytes(network, torch.zeros(2, 10), CARD)
    assert found == 4 * (10 * 3 + 3) + 4 * 2 * 10 + 700
    assert asked == ["drained", "reset", "called", "drained"]


class Launches(nn.Module):
    """Hundreds of kernels that have hardly anything to do."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(300):
            x = x + 1
        return x


@pytest.mark.gpu
def test_a_real_card_is_timed_by_its_events() -> None:
    network, x = nn.Linear(4096, 4096, device=CARD), torch.zeros(4096, 4096, device=CARD)
    with torch.inference_mode():
        CudaClock(CARD).block(Side(network, x), 10)
        block = CudaClock(CARD).block(Side(network, x), 10)
    assert block.ms > 0.1, "69 billion multiply-accumulates per call"
    assert block.host_ms < block.ms <= block.wall_ms * 1.01


@pytest.mark.gpu
def test_a_real_card_tells_launch_bound_networks_from_others() -> None:
    protocol = LatencyProtocol(batch=(2048,), max_seconds=1.0)
    busy, idle = nn.Linear(4096, 4096), Launches()
    (found,) = timing.latency(busy, copy.deepcopy(busy), torch.zeros(1, 4096), protocol, CARD, 0)
    assert (found.clock, found.contention) == ("cuda", 0.0) and "launch-bound" not in found.flags
    assert 0.9 < found.speedup < 1.1
    small = replace(protocol, batch=(1,))
    (found,) = timing.latency(idle, copy.deepcopy(idle), torch.zeros(1, 8), small, CARD, 0)
    assert "launch-bound" in found.flags


@pytest.mark.gpu
def test_a_real_card_says_its_clocks() -> None:
    pytest.importorskip("pynvml")
    state = conditions.gpu_state(CARD)
    assert 0 < state["sm_clock_mhz"] < 5000 and 0 < state["memory_clock_mhz"] < 50_000
    assert 10 < state["temperature_c"] < 110 and 5 < state["power_w"] < 2000
    assert set(state["throttled_by"]) <= set(conditions._REASONS)


@pytest.mark.gpu
def test_peak_memory_on_a_real_card_holds_weights_input_and_output() -> None:
    network, x = nn.Linear(1024, 4096, device=CARD), torch.zeros(256, 1024, device=CARD)
    least = 4 * (1024 * 4096 + 4096 + 256 * 1024 + 256 * 4096)
    assert least <= memory.peak_memory_bytes(network, x, CARD) <= least + (128 << 20), "and a kernel's workspace"
