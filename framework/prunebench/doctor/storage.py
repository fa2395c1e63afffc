"""The place of the results: folder, disk, locks, database."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from prunebench.doctor.checks import Check
from prunebench.errors import NewerDatabase, NotADatabase
from prunebench.store import Store

FREE_BYTES = 2 << 30
TRIED_BYTES = 1 << 20  # written and made durable, as a journal is
ELSEWHERE = "choose another place with --db"


def folder(wanted: Path) -> Iterator[Check]:
    """A file of a megabyte, written where results would be: permissions alone say yes where a disk says no."""
    there = _existing(wanted)
    if not there.is_dir():
        yield Check("folder", "fault", f"{there} is a file, not a folder", ELSEWHERE)
        return
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield Check("folder", "fault", f"{there} cannot be written: {error.strerror}", ELSEWHERE)
        return
    yield Check("folder", "ok", f"{wanted} can be written")


def disk(wanted: Path) -> Iterator[Check]:
    """How much room there is."""
    free = shutil.disk_usage(_existing(wanted)).free
    if free >= FREE_BYTES:
        yield Check("disk", "ok", f"{free >> 30} GiB free")
    else:
        yield Check("disk", "warning", f"{free >> 20} MiB free", "make room: checkpoints and journals need it")


def locks(wanted: Path) -> Iterator[Check]:
    """Two descriptors of one file must exclude each other, as journals and merges rely on."""
    there = _existing(wanted)
    try:
        first, second = _twice_opened(there)
    except OSError as error:
        yield Check("locks", "warning", f"not checked, no file can be made in {there}: {error.strerror}", ELSEWHERE)
        return
    with first, second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX)
        except OSError as error:
            yield Check("locks", "fault", f"{there} has no flock: {error.strerror}", "put the database on a local disk")
            return
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield Check("locks", "ok", f"flock works in {there}")
            return
    yield Check("locks", "fault", f"flock does not exclude in {there}", "put the database on a local disk")


def _twice_opened(there: Path) -> tuple[IO[bytes], IO[bytes]]:
    """Two descriptors of one file whose name is gone already."""
    with tempfile.NamedTemporaryFile(dir=there, prefix=".bench-doctor-") as named:
        return open(named.name, "rb"), open(named.name, "rb")


def database(path: Path) -> Iterator[Check]:
    """The database and its journals, read whole."""
    if not path.exists():
        yield Check("database", "ok", f"none at {path} yet")
        return
    try:
        faults = Store(path).check()
    except (NotADatabase, NewerDatabase) as error:
        yield Check("database", "fault", str(error), ELSEWHERE)
        return
    if faults:
        yield Check("database", "fault", "; ".join(faults)[:500], "bench db rebuild")
    else:
        yield Check("database", "ok", f"{path} is sound")


def _existing(wanted: Path) -> Path:
    """The nearest place above `wanted`, itself included, that exists."""
    wanted = wanted.absolute()
    while not wanted.exists():
        wanted = wanted.parent
    return wanted
