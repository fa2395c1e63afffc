"""What a supervisor and its worker say to each other, and the socket it goes over."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from prunebench.records import Result, Trial, decode, encode

PROGRESS_SECONDS = 0.2  # between two reports of the same phase
NOTE_SECONDS = 60.0  # between two notes of the same words
RELEASE = b"release"  # instead of an order: there is nothing to do on the device that the worker has waited for
HEADING = "--- "  # begins the line that a worker prints before a trial


@dataclass(frozen=True)
class Hello:
    """The first message to a worker."""

    runner: str  # "module:function"
    device: str
    settings: dict[str, Any] = field(default_factory=dict)
    leases: tuple[str, ...] = ()  # lock files, any one of which it holds during a trial
    memory_limit_bytes: int | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True)
class Order:
    """One trial to run."""

    trial: Trial
    attempt: int = 1
    batch_halved: bool = False


@dataclass(frozen=True)
class Report:
    """What a worker says."""

    kind: Literal["ready", "refused", "waiting", "holding", "begun", "beat", "progress", "note", "result"]
    pid: int = 0
    host: str = ""
    text: str = ""  # of a note, the reason of a refusal, the phase of progress, what is waited for
    fraction: float | None = None
    result: Result | None = None
    is_spent: bool = False  # with a result: this worker should get no further trial


class Channel:
    """The worker's end of the socket; several threads may send."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lines = sock.makefile("rb")
        self._lock = threading.Lock()
        self._last_progress = ("", 0.0)
        self._last_note = ("", 0.0)

    def receive(self, kind: type[Any]) -> Any:
        """The next message, or `RELEASE`; None when the supervisor has hung up."""
        self._last_progress = ("", 0.0)
        try:
            line = self._lines.readline()
        except ConnectionError:
            return None
        if line == RELEASE + b"\n":
            return RELEASE
        return decode(line, kind) if line.endswith(b"\n") else None

    def send(self, report: Report) -> None:
        """One line home."""
        self.send_line(encode(report))

    def send_line(self, line: bytes) -> None:
        """An encoded report; nobody there any more means that there is nothing left to do here."""
        with self._lock:
            try:
                self._socket.sendall(line + b"\n")
            except OSError:
                os._exit(0)

    def progress(self, phase: str, fraction: float | None = None) -> None:
        """Tell how far the trial is; dropped when the same phase was told a moment ago."""
        now, (last_phase, last_time) = time.monotonic(), self._last_progress
        if phase != last_phase or now - last_time >= PROGRESS_SECONDS:
            self._last_progress = (phase, now)
            self.send(Report("progress", text=phase, fraction=fraction))

    def note(self, text: str) -> None:
        """Tell what the user should know; dropped when the same was told less than a minute ago."""
        now, (last_text, last_time) = time.monotonic(), self._last_note
        if text != last_text or now - last_time >= NOTE_SECONDS:
            self._last_note = (text, now)
            self.send(Report("note", text=text))
