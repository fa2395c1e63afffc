"""One merge at a time, on a copy that replaces the published file by rename.

A large file is not copied each time: the inode that a rename retired is kept as a spare, one merge behind, and
brought up to date in its turn. A spare that anybody may still have open (the kernel says so, by a lease) is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from prunebench.errors import StoreError
from prunebench.store.journal import folder_of

UNREAD = "unread"  # in the name of a file that was set aside and may have been the only place of results
SPARE_FROM_BYTES = 32 << 20  # smaller files are copied


class MergeHeld(StoreError):
    """Another process is merging; `pid` is None where it cannot be told."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path}: {f'process {pid}' if pid else 'another process'} is merging; try again in a moment")
        self.pid = pid


@contextlib.contextmanager
def merge_lock(database: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the lock that only merges take; raises MergeHeld after `wait_seconds`."""
    folder = folder_of(database)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written to: {(error.strerror or str(error)).lower()}") from None
    try:
        _take_lock(fd, database, wait_seconds)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)


def _take_lock(fd: int, database: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                text = os.pread(fd, 20, 0).decode(errors="replace").strip()
                raise MergeHeld(database, int(text) if text.isdecimal() else None) from None
            time.sleep(0.01)


def working_copy(database: Path) -> Path:
    """A private file with the published rows (possibly one merge behind), or an absent one where nothing is published.

    Raises StoreError where the published file is held for writing by somebody.
    """
    folder = folder_of(database)
    work, spare = folder / "next.duckdb", folder / "spare.duckdb"
    for leftover in (work, work.with_name("next.duckdb.wal"), folder / "spare.duckdb.wal"):
        leftover.unlink(missing_ok=True)
    if not database.exists():
        spare.unlink(missing_ok=True)
        return work
    if spare.exists() and _is_unused(spare) and _is_of(spare, database):
        spare.rename(work)
        work.chmod(0o644)
    else:
        spare.unlink(missing_ok=True)
        _copy(database, work)
    return work


def publish(work: Path, database: Path) -> None:
    """Make `work` the published file: on the disk first, then by rename."""
    _sync(work)
    spare = folder_of(database) / "spare.duckdb"
    spare.unlink(missing_ok=True)
    if database.exists() and database.stat().st_size >= SPARE_FROM_BYTES:
        with contextlib.suppress(OSError):  # no hard links here: then the next merge copies
            os.link(database, spare)
    work.chmod(0o444)
    work.replace(database)
    _sync(database.parent)


def unread_beside(database: Path) -> list[Path]:
    """Files that were set aside unread and may have been the only place of results."""
    folders = (database.parent, folder_of(database))
    return sorted(path for folder in folders for path in folder.glob(f"*.duckdb.{UNREAD}-*") if path.suffix != ".txt")


def set_aside(path: Path, why: str) -> Path:
    """Move a file out of the way, under a name that tells why and when."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    target = path.with_name(f"{path.name}.{why}-{stamp}-{time.time_ns() % 10**9:09}")
    path.rename(target)
    return target


def set_wal_aside(database: Path) -> str:
    """Move a write-ahead log beside the published file out of the way; a note of it, empty if there is none.

    Merges never leave one, so it is foreign, and replaying it would change or spoil what was published.
    """
    wal = database.with_name(database.name + ".wal")
    if not wal.exists() or not database.is_file() or holder_of(database) is not None:
        return ""
    return f"{wal}: not ours, moved to {set_aside(wal, 'foreign').name}"


def holder_of(path: Path) -> int | None:
    """The process that holds `path` for writing, None for nobody."""
    with path.open("rb") as file:
        ask = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, ask))
    return None if kind == fcntl.F_UNLCK else int(pid)


def _is_unused(path: Path) -> bool:
    """Whether no process has the file open, not even for reading; False where the kernel cannot tell."""
    setlease, write_lease = getattr(fcntl, "F_SETLEASE", None), fcntl.F_WRLCK
    if setlease is None:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.fcntl(fd, setlease, write_lease)
        fcntl.fcntl(fd, setlease, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _is_of(spare: Path, database: Path) -> bool:
    """Whether the spare is an older state of this published file: a file put there by hand has another mark."""
    mark = folder_of(database) / "published"
    with contextlib.suppress(OSError, ValueError):
        inode, spare_inode = (int(part) for part in mark.read_text().split()[:2])
        return database.stat().st_ino == inode and spare.stat().st_ino == spare_inode
    return False


def is_published_here(database: Path) -> bool:
    """Whether a merge of this folder wrote the published file: one that was put there by hand has another inode."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((folder_of(database) / "published").read_text().split()[0]) == database.stat().st_ino
    return False


def published_count(database: Path) -> int | None:
    """Results in the file that a merge of this folder wrote there; None where it is another, or nothing says so."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        if is_published_here(database):
            return int((folder_of(database) / "published").read_text().split()[2])
    return None


def mark_published(database: Path, count: int) -> None:
    """Remember which two inodes belong together, the published file and its spare, and how many results it has."""
    folder = folder_of(database)
    spare = folder / "spare.duckdb"
    text = f"{database.stat().st_ino} {spare.stat().st_ino if spare.exists() else 0} {count}"
    (folder / "published").write_text(text)


def _copy(source: Path, target: Path) -> None:
    """Copy through one descriptor; refused while somebody writes to the source."""
    pid = holder_of(source)
    if pid is not None:
        from prunebench.store.database import HeldDatabase

        raise HeldDatabase(source, pid)
    with source.open("rb") as read, target.open("wb") as write:
        left = os.fstat(read.fileno()).st_size
        while left > 0:
            done = _copy_range(read.fileno(), write.fileno(), left)
            if done == 0:
                break
            left -= done


def _copy_range(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, min(count, 1 << 30))
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            raise
    return os.write(target, os.read(source, min(count, 1 << 24)))


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # folders of some file systems cannot be synced
            raise
    finally:
        os.close(fd)
