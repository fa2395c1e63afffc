"""What an executor is told and what it tells: plain frozen data, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from prunebench.records import Result, Trial


@dataclass(frozen=True)
class WorkSettings:
    """What every worker is told once, when it starts."""

    data_dir: str
    checkpoints: str
    plugin_files: tuple[str, ...] = ()
    disabled_plugins: tuple[str, ...] = ()
    timeout_seconds: float | None = None  # for one attempt at a trial, from when it has its device
    memory_limit_bytes: int | None = None  # address space above what the idle worker has; CPU slots only
    log_dir: str | None = None  # a log file per slot; None keeps only the tail that explains a crash
    threads_per_slot: int | None = None  # None leaves it to the slot, which has one
    download: bool = True


@dataclass(frozen=True)
class RetryPolicy:
    """Further attempts by how the last one ended; `failed` and `timeout` are final, they would only repeat."""

    killed: int = 1
    oom: int = 1  # with the batch halved, once


RETRIES = RetryPolicy()


@dataclass(frozen=True)
class Slot:
    """A place where one worker runs."""

    name: str  # "cpu:0", "cuda:3": its log file and its column on the screen
    device: str  # as the worker calls it: "cpu", or "cuda:0" for the only GPU that it can see
    visible: str | None = None  # CUDA_VISIBLE_DEVICES of its worker
    threads: int = 1  # of OpenMP and BLAS
    leases: tuple[str, ...] = ()  # lock files, any one of which its worker holds during a trial


@dataclass(frozen=True)
class WorkerStarted:
    """A worker has loaded its plugins and waits for a trial."""

    slot: str
    device: str
    pid: int


@dataclass(frozen=True)
class Started:
    """A trial was handed to a worker."""

    trial: Trial
    slot: str
    attempt: int


@dataclass(frozen=True)
class Progress:
    """How far the trial in a slot is; `fraction` of `phase` in [0, 1] where that is known."""

    slot: str
    trial_id: str
    phase: str
    fraction: float | None


@dataclass(frozen=True)
class Waiting:
    """A worker has to wait for its device, which another run has; its trial has gone back to the others."""

    slot: str
    text: str  # what for, and who has it


@dataclass(frozen=True)
class Finished:
    """The last attempt at a trial has ended, one way or another."""

    result: Result
    slot: str


@dataclass(frozen=True)
class WorkerLost:
    """A worker has died or was killed; its slot gets another, until three in a row died before they were ready."""

    slot: str
    reason: str


@dataclass(frozen=True)
class Note:
    """A line that people may want to read."""

    text: str


Event = WorkerStarted | Started | Waiting | Progress | Finished | WorkerLost | Note


class Executor(Protocol):
    """Runs trials on whatever it has."""

    def run(self, trials: Iterable[Trial]) -> Iterator[Event]:
        """Exactly one `Finished` for every trial, unless it is stopped.

        The supervision happens inside `next`: deadlines are looked at when the caller asks for the next event.
        """

    def isolate(self, origin_of: Callable[[Trial], str]) -> None:
        """From now on a worker runs trials of one origin only."""

    def stop(self, now: bool = False) -> None:
        """Begin no further trial and end `run` after those under way, or kill these too; from any thread or signal."""
