"""Lock files by which several runs on one host share its devices, trial by trial.

The worker itself holds the lock, so the kernel drops it whatever way the worker ends. Whoever finds it taken waits
behind a gate that the last holder must pass as well: two runs take turns and neither starves.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def leased(paths: tuple[str, ...], waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold any one of the locks, none where there are no `paths`; `waiting` is told when all are taken."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(path, "a+b")) for path in paths]
        held = next((file for file in files if taken_at_once(file)), None)
        if held is None and files:
            held = files[0]
            waiting(Path(paths[0]).stem)
            wait_in_line(held)
        try:
            yield
        finally:
            if held is not None:
                fcntl.flock(held, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile


def taken_at_once(file: IO[bytes]) -> bool:
    """Whether the lock was free, with nobody in line for it; it is ours then."""
    with gate(file) as entrance:
        return try_lock(entrance) and try_lock(file)


def wait_in_line(file: IO[bytes]) -> None:
    """Come before whoever has just had it."""
    with gate(file) as entrance:
        fcntl.flock(entrance, fcntl.LOCK_EX)
        fcntl.flock(file, fcntl.LOCK_EX)


def gate(file: IO[bytes]) -> IO[bytes]:
    """The file in front of the lock."""
    return open(f"{file.name}.gate", "a+b")


def try_lock(file: IO[bytes]) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
