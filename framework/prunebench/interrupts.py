"""Ctrl-C: one line and exit code 130, whatever was under way. A caller that has it ignored is obeyed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

CODE = 130
LINE = b"bench: interrupted\n"


def end(*_: object) -> None:
    """End the process now: an exception in the middle of an import may be swallowed, or abort from within C++."""
    with contextlib.suppress(OSError):
        os.write(2, LINE)
    os._exit(CODE)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Inside, Ctrl-C ends the process: for what imports, asks and times much, and leaves nothing behind."""
    with _answered_by(end):
        yield


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
    """Inside, Ctrl-C raises KeyboardInterrupt and is noted: what fails after it failed for no other reason."""
    found: list[int] = []

    def answer(number: int, _frame: object) -> None:
        found.append(number)
        raise KeyboardInterrupt

    with _answered_by(answer):
        yield found


@contextlib.contextmanager
def _answered_by(handler: Callable[..., object]) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    try:
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, handler)
    except ValueError:  # another thread than the main one, where no signal arrives
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
