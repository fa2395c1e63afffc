"""`runs/<run id>/activity.json`: what a run is doing, for `bench watch` and other programs.

It is replaced by rename, at most four times a second and only when something happened, so that nothing of ours computes
while a block is timed. It is a view, not a record: it is not fsynced, and where it cannot be written the run goes on.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec
import psutil

from prunebench.engine.activity.tally import Snapshot, Tally
from prunebench.engine.activity.throttled import Throttled
from prunebench.engine.executors.events import Event
from prunebench.errors import PruneBenchError
from prunebench.records import decode, encode
from prunebench.report import replace_bytes

CLOCK_SLACK_SECONDS = 5.0  # the system derives a process's start from a clock that may be set meanwhile


@dataclass(frozen=True)
class Process:
    """The process of a run; a number alone would be given to another one day."""

    host: str
    pid: int
    started_at: float

    @classmethod
    def own(cls) -> Process:
        """This one."""
        return cls(platform.node(), os.getpid(), psutil.Process().create_time())

    def is_running(self) -> bool | None:
        """None where it cannot be known: on another host."""
        if self.host != platform.node():
            return None
        try:
            found = psutil.Process(self.pid)
            is_same = bool(abs(found.create_time() - self.started_at) < CLOCK_SLACK_SECONDS)
            return is_same and bool(found.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None


@dataclass(frozen=True)
class Activity:
    """What the file holds."""

    run: str
    process: Process
    snapshot: Snapshot
    ended: Literal["", "complete", "stopped"] = ""  # empty while it runs, and for ever after a kill


def activity_path(database: Path, run_id: str) -> Path:
    """`runs/<run id>/activity.json`."""
    return database.parent / run_id / "activity.json"


def read_activity(path: Path) -> Activity | None:
    """What the run last wrote; None where there is no such file, or none that this version can read."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return decode(path.read_bytes(), Activity)
    return None


class ActivityFile:
    """Keeps the file of a run; used as a context manager, fed by `take`."""

    def __init__(self, path: Path, run_id: str, tally: Tally) -> None:
        self._path, self._run_id, self._tally = path, run_id, tally
        self._process = Process.own()
        self._lock = threading.Lock()
        self._write_soon = Throttled(self._write)
        self._is_over = False

    def __enter__(self) -> ActivityFile:
        self._write_soon()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._write_soon.cancel()
        self._write(is_over=True)

    def take(self, event: Event) -> None:
        """Note what `event` changed and write it soon."""
        with self._lock:
            self._tally.take(event)
        self._write_soon()

    def _write(self, is_over: bool = False) -> None:
        with self._lock, contextlib.suppress(PruneBenchError):  # a full disk, a folder that became read-only
            if self._is_over:
                return
            self._is_over = is_over
            state = self._tally.snapshot()
            ended: Literal["", "complete", "stopped"] = ""
            if is_over:
                state = replace(state, devices=())  # the workers have ended too
                ended = "complete" if state.done >= state.total else "stopped"
            replace_bytes(self._path, encode(Activity(self._run_id, self._process, state, ended)))
