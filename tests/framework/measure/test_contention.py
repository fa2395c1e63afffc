"""What is said of a pair while others have the processor, and what is not counted as the pair's time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from prunebench.measure.latency import blocks as clocks
from prunebench.measure.latency import latency as timing
from prunebench.measure.latency.blocks import Block, Clock, CpuClock, CudaClock, Side, WallClock, waited_ns
from prunebench.measure.latency.pairs import Blocks
from prunebench.records import LatencyProtocol
from torch import nn


def blocks(block: Block) -> Blocks:
    return Blocks([block] * 20, [block] * 20, [index // 2 for index in range(20)])


@pytest.mark.parametrize(
    ("clock", "block", "contention", "flags"),
    [
        (CpuClock(), Block(1.0, 1.04, 1.0), 1 - 1 / 1.04, ()),
        (CpuClock(), Block(1.0, 1.25, 1.0), 0.2, ("contended",)),
        (CpuClock(), Block(1.0, 2.0, 1.0), 0.5, ("contended", "wall-hidden")),
        (WallClock(), Block(1.0, 1.0, 0.4, waited_ms=0.0), 0.0, ()),
        (WallClock(), Block(1.0, 1.0, 1.9, waited_ms=0.2), 0.2, ("contended",)),
        (WallClock(), Block(1.0, 1.0, 0.4, waited_ms=1.6), 1.0, ("contended", "wall-hidden")),
        (CudaClock(torch.device("cuda:0")), Block(1.0, 9.0, 0.1, waited_ms=5.0), 0.0, ()),
    ],
)
def test_contention_is_what_others_took(clock: Clock, block: Block, contention: float, flags: tuple[str, ...]) -> None:
    found = timing._contention(blocks(block), clock)
    assert found == pytest.approx(contention)
    assert tuple(timing._flags(blocks(block), clock, found, {})) == flags


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not say how long threads wait")
def test_a_thread_that_is_kept_waiting_is_noticed() -> None:
    """More busy threads of pure torch than there are processors: some of them have to wait."""
    x = torch.randn(256, 256)

    def work(until: float) -> None:
        while time.perf_counter() < until:
            x @ x

    before, until = waited_ns(), time.perf_counter() + 0.3
    threads = [threading.Thread(target=work, args=(until,)) for _ in range(3 * (torch.get_num_threads() + 1))]
    for thread in threads:
        thread.start()
    time.sleep(0.15)
    assert waited_ns() > before, "while they run: what a thread waited goes with it"
    for thread in threads:
        thread.join()


def test_a_system_that_does_not_say_is_no_contention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks.glob, "glob", lambda pattern: ["/nowhere/schedstat"])
    assert waited_ns() == 0
    assert WallClock().block(Side(nn.Identity(), torch.zeros(1)), 3).waited_ms == 0


def test_importing_the_compiler_is_not_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first compiled pair of a process got three pairs of blocks, and so an A/A floor of a tenth and more."""
    monkeypatch.setattr(torch.compiler, "reset", lambda: time.sleep(0.4))
    monkeypatch.setattr(torch, "compile", lambda call, **options: call)
    protocol = LatencyProtocol(batch=(1,), max_seconds=0.3, groups=2, compile=True)
    (found,) = timing.latency(nn.Linear(8, 8), nn.Linear(8, 8), torch.zeros(1, 8), protocol, "cpu", 0)
    assert "few-blocks" not in found.flags
