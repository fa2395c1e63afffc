"""A lock behind a gate: whoever waits for the lock shuts the gate, so that a stream of others cannot starve them.

Both are lock files. The kernel drops the locks of a process that dies, in whatever way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path


class Turnstile:
    """One process's handle on the two files, which are made where they are not there; raises OSError.

    It may be shared by many (`share`) or held alone (`seize`, `wait`, `take_at_once`); `leave` gives it back.
    """

    def __init__(self, lock: Path, gate: Path) -> None:
        self._lock, self._gate = _opened(lock), _opened(gate)

    def share(self, blocked: Callable[[], None]) -> None:
        """Hold the lock beside others, once nobody waits at the gate; `blocked` is called before a wait."""
        _take(self._gate, fcntl.LOCK_SH, blocked)
        _take(self._lock, fcntl.LOCK_SH, blocked)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def seize(self, blocked: Callable[[], None] = lambda: None) -> None:
        """Hold the lock alone, and keep the gate shut until it is left: who comes now waits there."""
        _take(self._gate, fcntl.LOCK_EX, blocked)
        _take(self._lock, fcntl.LOCK_EX, blocked)

    def wait(self) -> None:
        """Hold the lock alone, before whoever has just had it; the gate is open for the next in line."""
        self.seize()
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def take_at_once(self) -> bool:
        """Whether the lock was free, with nobody at the gate; it is held alone then."""
        is_ours = _try(self._gate, fcntl.LOCK_EX) and _try(self._lock, fcntl.LOCK_EX)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        return is_ours

    def is_wanted(self) -> bool:
        """Whether somebody waits at the gate."""
        if not _try(self._gate, fcntl.LOCK_SH):
            return True
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        return False

    def say(self, words: bytes) -> None:
        """Write into the lock's file who holds it, for those who wait; nothing where the disk is full."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, words, 0)

    def leave(self) -> None:
        """Give it back. Closing alone would leave it to a child that was forked meanwhile."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the files; it cannot be used again."""
        os.close(self._lock)
        os.close(self._gate)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(file: int, kind: int, blocked: Callable[[], None]) -> None:
    if not _try(file, kind):
        blocked()
        fcntl.flock(file, kind)
