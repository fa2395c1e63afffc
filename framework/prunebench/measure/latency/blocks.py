"""A block: so many calls of a network on one input, timed by the clock that the device deserves."""

from __future__ import annotations

import contextlib
import glob
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn

from prunebench.samples import Tree

ClockName = Literal["cpu", "wall", "cuda"]


@dataclass(frozen=True)
class Side:
    """A network and its input, ready to be called; `is_own` says that the network is a copy made to be timed."""

    network: nn.Module
    x: Tree
    is_own: bool = True

    @property
    def call(self) -> Callable[[], Any]:
        """One forward pass, with as little around it as Python allows."""
        if isinstance(self.x, Mapping):
            return partial(self.network, **self.x)
        return partial(self.network, *self.x) if isinstance(self.x, tuple | list) else partial(self.network, self.x)


@dataclass(frozen=True)
class Block:
    """Milliseconds a call: by the headline clock, by the wall, and what the host spent to get the calls going.

    `others_ms` is the processor time of this process's other threads, which a clock of one thread does not count.
    `waited_ms` is how long threads of ours were ready to run and had no processor, added up over them, where a clock of
    several threads asks for it.
    """

    ms: float
    wall_ms: float
    host_ms: float
    waited_ms: float = 0.0
    others_ms: float = 0.0


class Clock(Protocol):
    """How a block is timed."""

    name: ClockName
    block_ms: float  # how long a block should be at least

    def block(self, side: Side, calls: int) -> Block:
        """`calls` forward passes, one after the other."""


class CpuClock:
    """CPU time of the calling thread: what other processes take away is not counted. For one thread only."""

    name: ClockName = "cpu"
    block_ms = 0.5

    def block(self, side: Side, calls: int) -> Block:
        """Timed inside the wall clock's pair of readings, so that CPU time is never above wall time."""
        call = side.call
        wall = time.perf_counter_ns()
        whole = time.process_time_ns()
        cpu = time.thread_time_ns()
        for _ in range(calls):
            call()
        cpu = time.thread_time_ns() - cpu
        whole = time.process_time_ns() - whole
        wall = time.perf_counter_ns() - wall
        others = max(0, whole - cpu)
        return Block(cpu / calls / 1e6, wall / calls / 1e6, cpu / calls / 1e6, others_ms=others / calls / 1e6)


class WallClock:
    """Elapsed time, for several threads."""

    name: ClockName = "wall"
    block_ms = 2.0

    def block(self, side: Side, calls: int) -> Block:
        """The whole process's CPU time stands beside the wall's."""
        call = side.call
        waited = waited_ns()
        cpu = time.process_time_ns()
        wall = time.perf_counter_ns()
        for _ in range(calls):
            call()
        wall = time.perf_counter_ns() - wall
        cpu = time.process_time_ns() - cpu
        waited = max(0, waited_ns() - waited)
        return Block(wall / calls / 1e6, wall / calls / 1e6, cpu / calls / 1e6, waited / calls / 1e6)


class CudaClock:
    """CUDA events around the calls, the device drained before and after."""

    name: ClockName = "cuda"
    block_ms = 1.0

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def block(self, side: Side, calls: int) -> Block:
        """`host_ms` ends when the last kernel is queued: near `ms`, the host is what limits."""
        call = side.call
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with torch.cuda.device(self._device):
            torch.cuda.synchronize()
            wall = time.perf_counter_ns()
            first.record()
            for _ in range(calls):
                call()
            last.record()
            host = time.perf_counter_ns() - wall
            torch.cuda.synchronize()
            wall = time.perf_counter_ns() - wall
        return Block(first.elapsed_time(last) / calls, wall / calls / 1e6, host / calls / 1e6)


def waited_ns() -> int:
    """How long the threads of this process have waited for a processor, together; 0 where the system does not say."""
    waited = 0
    for path in glob.glob("/proc/self/task/*/schedstat"):
        with contextlib.suppress(OSError, IndexError, ValueError):  # a thread may end meanwhile
            waited += int(Path(path).read_text(encoding="ascii").split()[1])
    return waited


def clock_for(device: torch.device, threads: int) -> Clock:
    """CUDA events, thread CPU time for one thread, the wall for several."""
    if device.type == "cuda":
        return CudaClock(device)
    return CpuClock() if device.type == "cpu" and threads == 1 else WallClock()
