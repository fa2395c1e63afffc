"""One append-only file per run: the commit point of every result.

A line is `{"prunebench":1,"crc":"…","kind":"result","record":{…}}`: a format version, a checksum over kind and record,
and the record with the keys that the database files it under. What cannot be verified is reported, never guessed at.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from prunebench.errors import StoreError
from prunebench.records import Result, Run, encode
from prunebench.store.keys import result_keys
from prunebench.store.line_schema import fault_of

FORMAT = 1
CHUNK_BYTES = 8 << 20
_LINE = re.compile(rb'\{"prunebench":(\d+),"crc":"([0-9a-f]{8})","kind":"([a-z]+)","record":(.*)\}', re.DOTALL)
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def folder_of(database: Path) -> Path:
    """Where the journals of `database` lie: beside it, under its own name."""
    return database.with_name(f"{database.stem}.journal")


def journals_of(database: Path) -> list[Path]:
    """The journals of `database`, by name: regular files, as nothing else could be read to its end."""
    return sorted(path for path in folder_of(database).glob("*.jsonl") if path.is_file())


def strangers_of(database: Path) -> list[Path]:
    """What has a journal's name and is none: a folder, a FIFO, a link to nowhere."""
    return sorted(path for path in folder_of(database).glob("*.jsonl") if not path.is_file())


def line_of(kind: str, record: object) -> bytes:
    """`record` as one line of a journal; raises StoreError where it is not plain data."""
    try:
        body = encode(record)
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"a {kind} holds what cannot be stored: {error}") from None
    crc = zlib.crc32(body, zlib.crc32(kind.encode()))
    return b'{"prunebench":%d,"crc":"%08x","kind":"%s","record":%s}\n' % (FORMAT, crc, kind.encode(), body)


class Journal:
    """The writer: a result is acknowledged when `append` returns, and not before."""

    def __init__(self, path: Path, run: Run) -> None:
        """Create the file at `path` with the run as its first line; raises StoreError if it is there already."""
        self.path, self.run = path, run
        self._broken = ""
        self._fd = _create(path)
        self._write(line_of("run", run))
        _sync_folder(path.parent)

    def append(self, result: Result) -> None:
        """Write `result` and wait until it is on the disk; raises StoreError, never acknowledging, if that fails."""
        self._write(line_of("result", {"keys": result_keys(result, self.run.id), "result": result}))

    def close(self) -> None:
        """Let go of the file; more calls do nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        self._check()
        start = os.fstat(self._fd).st_size
        try:
            _write_all(self._fd, line)
        except OSError as error:
            self._take_back(start)
            raise StoreError(f"{self.path}: {_reason(error)}; the result was not stored") from None
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # A merge may have read the whole line already, so it stays; nothing may follow it.
            self._broken = f"{_reason(error)} on an earlier write"
            raise StoreError(f"{self.path}: {_reason(error)}; the result was not acknowledged") from None

    def _check(self) -> None:
        if self._fd < 0:
            raise StoreError(f"{self.path}: the journal is closed")
        if self._broken:
            raise StoreError(f"{self.path}: no longer written to, {self._broken}")
        if not _is_same_file(self._fd, self.path):
            raise StoreError(f"{self.path}: the journal was deleted or moved while the run was writing to it")

    def _take_back(self, start: int) -> None:
        """Cut a half-written line off; no merge has read it, for it has no end."""
        try:
            os.ftruncate(self._fd, start)
        except OSError as error:
            self._broken = f"a torn line could not be cut off ({_reason(error)})"


@dataclass(frozen=True)
class Damage:
    """A line that was not loaded, and why; `line` counts from 1, `offset` is in bytes."""

    journal: str
    line: int
    offset: int
    what: str

    def __str__(self) -> str:
        return f"{self.journal}:{self.line} (byte {self.offset}): {self.what}"


@dataclass
class Tail:
    """What a journal holds beyond a watermark: bodies of verified lines, the new watermark, and what was wrong."""

    name: str
    end: int  # bytes of whole lines read so far
    line_count: int
    runs: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    torn_bytes: int = 0  # of a last line without an end: not acknowledged, or being written now
    stopped: str = ""  # a line of a newer format: nothing beyond it is read


def read_tails(path: Path, offset: int = 0, line_count: int = 0, chunk: int = CHUNK_BYTES) -> Iterator[Tail]:
    """The whole lines after `offset`, in pieces of about `chunk` bytes; the last piece knows of a torn line."""
    with path.open("rb") as file:
        file.seek(offset)
        tail = Tail(path.name, offset, line_count)
        for line in file:
            if not line.endswith(b"\n"):
                tail.torn_bytes = len(line)
                break
            if not _take(tail, line):
                break
            if tail.end - offset >= chunk:
                yield tail
                offset = tail.end
                tail = Tail(path.name, tail.end, tail.line_count)
        yield tail


def _take(tail: Tail, line: bytes) -> bool:
    """Add `line` to `tail`; False where reading has to stop."""
    kind, body, wrong = verified(line)
    if kind == "newer":
        tail.stopped = wrong
        return False
    wrong = wrong or fault_of(kind, body)
    if wrong:
        tail.damages.append(Damage(tail.name, tail.line_count + 1, tail.end, wrong))
    elif kind == "result":
        tail.results.append(body)
    elif kind == "run":
        tail.runs.append(body)
    tail.end += len(line)
    tail.line_count += 1
    return True


def verified(line: bytes) -> tuple[str, str, str]:
    """Kind, body and fault of a line; the fault is empty for a line that is as it was written."""
    match = _LINE.fullmatch(line.rstrip(b"\n"))
    if not match:
        return "", "", "not a line of a prunebench journal"
    version, crc, kind, body = int(match[1]), int(match[2], 16), match[3], match[4]
    if version > FORMAT:
        return "newer", "", f"written by a newer prunebench (journal format {version}, this one reads {FORMAT})"
    if zlib.crc32(body, zlib.crc32(kind)) != crc:
        return "", "", "damaged: its checksum does not match"
    return kind.decode(), body.decode("utf-8", "replace"), ""


def journal_path(database: Path, run_id: str) -> Path:
    """The file of `run_id`; raises StoreError where the id could not be a file's name."""
    if not _RUN_ID.fullmatch(run_id):
        raise StoreError(f"run id {run_id[:80]!r} is not allowed; it has to match {_RUN_ID.pattern}")
    return folder_of(database) / f"{run_id}.jsonl"


def _create(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise StoreError(f"{path}: this run has a journal already; a run's id is used once") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be created: {_reason(error)}") from None


def _write_all(fd: int, line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[os.write(fd, view) :]


def _is_same_file(fd: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(fd), path.stat())
    return False


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError:  # some file systems cannot sync a folder; the file itself was synced
        pass
    finally:
        os.close(fd)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
