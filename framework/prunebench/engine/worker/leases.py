"""Lock files by which several runs on one host share its devices, trial by trial.

The worker itself holds the lock, so the kernel drops it whatever way the worker ends. Whoever finds it taken waits
behind a gate that the last holder must pass as well: two runs take turns and neither starves.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

WORDS_BYTES = 4096  # of what a holder says of itself


class Lease:
    """Any one of the locks `paths`; with none, the device is everybody's and nothing is ever waited for.

    `holder` is what others are told while this one holds it, as "process 4321, results in /home/me/runs".
    """

    def __init__(self, paths: tuple[str, ...], holder: str = "") -> None:
        self._paths = paths
        self._holder = holder
        self._held: int | None = None

    def take_at_once(self) -> bool:
        """Whether the device is ours: it was already, or one of the locks was free with nobody in line for it."""
        if self._held is not None or not self._paths:
            return True
        for path in self._paths:
            file = opened(path)
            if taken_at_once(file, path):
                self._hold(file)
                return True
            os.close(file)
        return False

    def wait(self) -> None:
        """Until the first of the locks is ours, before whoever has just had it."""
        file = opened(self._paths[0])
        wait_in_line(file, self._paths[0])
        self._hold(file)

    def awaited(self) -> str:
        """What is waited for, and who has it: `cpu-0 is in use by another run (process 4321, results in …)`."""
        path = Path(self._paths[0])
        words = path.read_bytes()[:WORDS_BYTES].decode(errors="replace").strip() if path.exists() else ""
        return f"{path.stem.removeprefix('slot-')} is in use by another run" + (f" ({words})" if words else "")

    def release(self) -> None:
        """Give it back; nothing where it is not held."""
        if self._held is not None:
            fcntl.flock(self._held, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
            os.close(self._held)
            self._held = None

    def _hold(self, file: int) -> None:
        self._held = file
        with contextlib.suppress(OSError):  # as on a full disk: who waits is then not told for whom
            os.ftruncate(file, 0)
            os.pwrite(file, self._holder.encode()[:WORDS_BYTES], 0)


def opened(path: str) -> int:
    """The lock file, made where it is not there."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def taken_at_once(file: int, path: str) -> bool:
    """Whether the lock was free, with nobody in line for it; it is ours then."""
    with gate(path) as entrance:
        return try_lock(entrance) and try_lock(file)


def wait_in_line(file: int, path: str) -> None:
    """Come before whoever has just had it."""
    with gate(path) as entrance:
        fcntl.flock(entrance, fcntl.LOCK_EX)
        fcntl.flock(file, fcntl.LOCK_EX)


@contextlib.contextmanager
def gate(path: str) -> Iterator[int]:
    """The file in front of the lock."""
    entrance = opened(f"{path}.gate")
    try:
        yield entrance
    finally:
        os.close(entrance)


def try_lock(file: int) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
