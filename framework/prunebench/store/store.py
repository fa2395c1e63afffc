"""The results of many runs in one place: journals that acknowledge, a database that people query."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from prunebench.errors import StoreError, encodable
from prunebench.records import Run
from prunebench.store import publish
from prunebench.store.journal import Damage, Journal, Tail, folder_of, journal_path, journals_of, read_tails

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from prunebench.store.finished import Ending


@dataclass
class MergeReport:
    """What a merge did: `merged` is False where there was nothing to do or somebody else holds a lock (`held_by`)."""

    merged: bool = False
    result_count: int = 0
    held_by: int | None = None
    postponed: str = ""  # why, in a line
    damages: list[Damage] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)  # journals whose last line has no end
    notes: list[str] = field(default_factory=list)  # what a user should know: a database set aside, ...
    seconds: float = 0.0


class Store:
    """The journals beside one database file, and the merges that publish them into it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if "\\" in str(self.path):  # said before anything runs: DuckDB takes it for the end of a folder
            raise StoreError(f"{self.path}: a path with a backslash cannot be opened; name another with --db")
        if encodable(str(self.path)) != str(self.path):
            raise StoreError(f"{encodable(str(self.path))}: the path is not UTF-8; name another with --db")
        self.folder = folder_of(self.path)
        self._seen: tuple[object, ...] = ()  # what the folder looked like after the last merge

    def open_run(self, run: Run) -> Journal:
        """A new journal for `run`, on the disk with the run in it; raises StoreError where it cannot be written."""
        return Journal(journal_path(self.path, run.id), run)

    def merge(self, wait_seconds: float = 0.2) -> MergeReport:
        """Publish what the journals hold beyond the database; never waits for readers.

        Raises StoreError for what the user has to mend; a merge that another process is at is postponed instead.
        """
        start, report = time.perf_counter(), MergeReport()
        if self.look() == self._seen:
            return report
        try:
            with publish.merge_lock(self.path, wait_seconds):
                self._merge(report)
        except publish.MergeHeld as held:
            report.held_by, report.postponed = held.pid, str(held)
        except OSError as error:
            self._postpone(report, error.strerror or str(error))
        report.seconds = time.perf_counter() - start
        return report

    def finished(self, trial_ids: Collection[str]) -> dict[str, str]:
        """Trial id -> status of its best stored attempt, for those of `trial_ids` that have one."""
        return {trial_id: ending.status for trial_id, ending in self.endings(trial_ids).items()}

    def endings(
        self,
        trial_ids: Collection[str],
        is_current: Callable[[str, Mapping[str, str]], bool] = lambda trial_id, code: True,
    ) -> dict[str, Ending]:
        """Trial id -> its best stored attempt; those by code that `is_current` come first."""
        from prunebench.store.finished import finished

        return finished(self.path, trial_ids, is_current)

    def journals(self) -> list[Path]:
        """The journals, by name; a folder or a FIFO is none, whatever it is called."""
        return journals_of(self.path)

    def look(self) -> tuple[object, ...]:
        """What would change if there were something to merge: sizes of journals, the published file."""
        files = [(path.name, path.stat().st_size) for path in self.journals()]
        imports = sorted(path.name for path in self.folder.glob("import-*.duckdb"))
        published = self.path.stat() if self.path.exists() else None
        return (files, imports, published and (published.st_ino, published.st_mtime_ns, published.st_size))

    def _merge(self, report: MergeReport) -> None:
        import duckdb

        from prunebench.store.database import DamagedDatabase, HeldDatabase
        from prunebench.store.merging import merge_into
        from prunebench.store.taking import keep_what_no_journal_holds

        looked = self.look()
        if note := publish.set_wal_aside(self.path):
            report.notes.append(note)
        try:
            if kept := keep_what_no_journal_holds(self):
                report.notes.append(f"{self.path}: holds results of no journal here; a copy is kept as {kept}")
            report.merged = merge_into(self.path, self.journals(), report)
        except HeldDatabase as held:
            report.held_by, report.postponed = held.pid, f"{held}; the results are safe in {self.folder}"
            return
        except DamagedDatabase as damaged:
            self._start_anew(damaged, report)
        except duckdb.Error as error:
            self._postpone(report, str(error).splitlines()[0])
            return
        self._seen = self.look() if looked[:2] == self.look()[:2] else ()

    def _postpone(self, report: MergeReport, why: str) -> None:
        """A full disk stops no run by a merge, for nothing is lost by it; the journal says so when it cannot go on."""
        if "no space left" not in why.lower():
            raise StoreError(f"{self.path}: cannot be published: {why.lower()}")
        report.merged, report.postponed = False, f"{self.path}: no space left; the results are safe in {self.folder}"

    def _start_anew(self, damaged: StoreError, report: MergeReport) -> None:
        from prunebench.store.merging import merge_into

        if not self.journals():
            raise damaged
        moved = publish.set_aside(self.path, "corrupt")
        report.notes.append(f"{self.path}: could not be read, moved to {moved.name} and rebuilt from the journals")
        report.merged = merge_into(self.path, self.journals(), report)

    def rebuild(self) -> MergeReport:
        """The database anew from the journals alone; the old file is set aside."""
        start, report = time.perf_counter(), MergeReport()
        if not self.journals() and not list(self.folder.glob("import-*.duckdb")):
            raise StoreError(f"{self.folder}: no journal to rebuild from")
        with publish.merge_lock(self.path, wait_seconds=30):
            if self.path.exists():
                moved = publish.set_aside(self.path, "before-rebuild")
                report.notes.append(f"the old file is {moved}")
            self._merge(report)
        report.seconds = time.perf_counter() - start
        return report

    def check(self) -> list[str]:
        """What is wrong with the database or a journal, a line each; raises as `store.check.faults` does."""
        from prunebench.store.check import faults

        return list(faults(self.path, self.journals()))


class _Keys(msgspec.Struct):
    trial_id: str = ""
    run_id: str = ""


class _Made(msgspec.Struct):
    code: dict[str, str] = {}


class _Outcome(msgspec.Struct):
    status: str = "failed"
    started_at: str = ""
    attempt: int = 1
    provenance: _Made = msgspec.field(default_factory=_Made)


class _Record(msgspec.Struct):
    keys: _Keys
    result: _Outcome


def tail_outcomes(tail: Tail) -> Iterator[tuple[str, str, str, int]]:
    """Trial id, status, start and attempt of the results in `tail`, without a database."""
    yield from ((*facts,) for *facts, _ in tail_endings(tail))  # type: ignore[misc]


def tail_keys(tail: Tail) -> Iterator[tuple[str, str, int]]:
    """Run, trial id and attempt of the results in `tail`: a journal may be a copy under another name."""
    decoder = msgspec.json.Decoder(_Record)
    for body in tail.results:
        with contextlib.suppress(msgspec.ValidationError):
            record = decoder.decode(body)
            yield record.keys.run_id, record.keys.trial_id, record.result.attempt


def tail_endings(tail: Tail) -> Iterator[tuple[str, str, str, int, dict[str, str]]]:
    """The same with the code of the plugins."""
    decoder = msgspec.json.Decoder(_Record)
    for body in tail.results:
        with contextlib.suppress(msgspec.ValidationError):
            record = decoder.decode(body)
            outcome = record.result
            yield record.keys.trial_id, outcome.status, outcome.started_at, outcome.attempt, outcome.provenance.code


def unmerged(
    connection: DuckDBPyConnection, database: Path, journals: list[Path], attached: str = ""
) -> Iterator[Tail]:
    """What the journals hold beyond the database attached as `attached` (empty: nothing is attached)."""
    from prunebench.store.database import watermarks

    marks = watermarks(connection, attached) if attached else {}
    for path in journals:
        offset, lines = marks.get(path.name, (0, 0))
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > offset:
                yield from read_tails(path, offset, lines)
