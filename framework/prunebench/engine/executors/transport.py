"""Workers somewhere: what a supervisor may ask of them, what it hears, and what it remembers of each slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from prunebench.engine.executors.events import Slot
from prunebench.engine.executors.schedule import Job

State = Literal["down", "starting", "idle", "waiting", "busy", "retiring", "abandoned"]


@dataclass(frozen=True)
class Said:
    """A worker's message, one line of JSON."""

    slot: str
    line: bytes


@dataclass(frozen=True)
class Exited:
    """A worker is gone; its children too."""

    slot: str
    reason: str  # "killed (signal 11, SIGSEGV)"
    tail: str = ""  # of its log


Happening = Said | Exited


class Transport(Protocol):
    """Workers somewhere."""

    def start(self, slot: Slot) -> None:
        """Begin a worker; where that is impossible, its `Exited` follows."""

    def send(self, slot: str, line: bytes) -> None:
        """An order for an idle worker."""

    def kill(self, slot: str) -> None:
        """End a worker and its children at once; its `Exited` follows."""

    def wait(self, seconds: float | None) -> Sequence[Happening]:
        """What has happened, after at most `seconds` or a `wake`."""

    def wake(self) -> None:
        """End a `wait`; from any thread or signal handler."""

    def close(self, now: bool) -> None:
        """End all workers: idle ones may leave by themselves unless it is to be `now`."""


@dataclass(slots=True)
class Post:
    """A slot and what goes on there."""

    slot: Slot
    state: State = "down"
    job: Job | None = None
    since: float = 0.0  # when the state began
    since_utc: str = ""
    deadline: float | None = None
    is_overdue: bool = False
    has_begun: bool = False  # its job
    holds_device: bool = False  # it has waited for one and keeps it for the next order
    noted_wait: float | None = None  # when people were told last that it waits
    last_sign: float = 0.0
    is_silent: bool = False
    failed_starts: int = 0
    refusal: str = ""
    host: str = ""
    origin: str | None = None  # of the trials that its worker has run, where workers are kept apart
