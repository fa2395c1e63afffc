"""Turns on a host: many may work on a device at once, one may time on it, alone.

Each room (the host, or one CUDA device) has a turnstile. Who works passes the gate and shares the room; who times shuts
the gate, waits until the room is empty, and keeps both until it is done. Who works calls `breathe` often: it leaves the
room while somebody waits at the gate.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prunebench.errors import DeviceError
from prunebench.measure.latency.turnstile import Turnstile

BEING_TIMED = "waits: another trial is timed on this device"
TO_TIME = "waits: it must be alone on this device to be timed"
LOOK_SECONDS = 0.02  # between two looks at the gate: a look costs two system calls


class Turn:
    """One process's place in the queue for `device` ("cpu", "cuda:1"); `folder` holds the lock files.

    `waits` is told in words what for, whenever somebody else must be waited for.
    """

    def __init__(
        self, folder: Path | None = None, device: str = "cpu", waits: Callable[[str], None] = lambda words: None
    ) -> None:
        self._folder = folder or made_folder()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._waits = waits
        names = ["host"] if device.startswith("cpu") else ["host", physical(device)]
        self._shared = [Turnstile(self._folder / f"{name}.room", self._folder / f"{name}.gate") for name in names]
        self._alone = self._shared[-1]
        self._depth = 0
        self._looked = 0.0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work that others may do beside us; not while anybody times on this device. May be nested."""
        if self._depth == 0:
            self._enter()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._leave()

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Alone on the device: on a CPU, on the host. Inside `working` the shared place is given up meanwhile."""
        if self._depth:
            self._leave()
        try:
            with self._alone_in_room():
                yield
        finally:
            if self._depth:
                self._enter()

    @contextmanager
    def _alone_in_room(self) -> Iterator[None]:
        beside = [room for room in self._shared if room is not self._alone]
        try:
            for room in beside:
                room.share(self._is_being_timed)
            self._alone.seize(lambda: self._waits(TO_TIME))
            yield
        finally:
            self._leave()

    def breathe(self) -> None:
        """Step aside until a waiting timer is done; call it between batches. Under a microsecond as a rule."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self._depth and any(room.is_wanted() for room in self._shared):
            self._leave()
            self._enter()

    def close(self) -> None:
        """Give everything back; the turn cannot be used again."""
        for room in self._shared:
            room.close()

    def _enter(self) -> None:
        for room in self._shared:
            room.share(self._is_being_timed)

    def _is_being_timed(self) -> None:
        self._waits(BEING_TIMED)

    def _leave(self) -> None:
        for room in reversed(self._shared):
            room.leave()


def default_folder() -> Path:
    """Where all runs of this user on this host meet, whatever their TMPDIR; PRUNEBENCH_LOCKS names another place."""
    common = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    return Path(os.environ.get("PRUNEBENCH_LOCKS") or common / f"prunebench-{os.getuid()}")


def made_folder() -> Path:
    """`default_folder`, made where it is not there and ours alone; raises `DeviceError` where that cannot be.

    Anybody may make a folder of this name in a temporary one first, and would decide who waits for whom.
    """
    folder = default_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.lstat()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DeviceError(f"{folder}: locks cannot be kept here ({why}); name another with PRUNEBENCH_LOCKS") from None
    if folder.is_symlink() or owner.st_uid != os.getuid():
        raise DeviceError(f"{folder}: belongs to another user; name another place for locks with PRUNEBENCH_LOCKS")
    return folder


def physical(device: str) -> str:
    """The card behind a CUDA device: "cuda:0" is cuda-3 where the process is allowed to see card 3 only."""
    index = int(device.partition(":")[2] or 0)
    visible = [card.strip() for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card.strip()]
    card = visible[index] if index < len(visible) else str(index)
    return "cuda-" + "".join(c if c.isalnum() else "-" for c in card)
