"""A slot's log file: what plugins print, bounded whatever they print."""

from __future__ import annotations

import contextlib
from pathlib import Path

from prunebench.engine.worker.messages import HEADING

TRIAL_BYTES = 2**20  # kept of what one trial prints
FILE_BYTES = 8 * 2**20  # then the file becomes `.log.1` and a new one begins
TAIL_BYTES = 4096  # always known: the last words of a worker that dies


def foreign_bytes(folder: Path) -> int:
    """How much in the folder's logs is not the line with which each trial begins: what others printed."""
    heading = HEADING.encode()
    lines = (line for path in folder.glob("*.log*") for line in path.read_bytes().splitlines(keepends=True))
    return sum(len(line) for line in lines if not line.startswith(heading))


class SlotLog:
    """Takes everything, keeps a bounded part; a full disk loses log lines and nothing else."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._tail = b""
        self._budget = TRIAL_BYTES
        if path is not None:
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """A new trial: a new budget, and no last words of the one before."""
        self._budget, self._tail = TRIAL_BYTES, b""

    def write(self, data: bytes) -> None:
        """Keep what the budget allows."""
        self._tail = (self._tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]
        kept = data[: self._budget]
        self._budget -= len(kept)
        if kept and not self._budget:
            kept += f"\n[what this trial prints beyond {TRIAL_BYTES / 2**20:.0f} MB is dropped]\n".encode()
        if kept and self.path is not None:
            with contextlib.suppress(OSError):
                self._append(self.path, kept)

    @property
    def tail(self) -> str:
        """The last 4 KB, as text."""
        return self._tail.decode(errors="replace").strip()

    def _append(self, path: Path, data: bytes) -> None:
        if path.exists() and path.stat().st_size > FILE_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as file:
            file.write(data)
