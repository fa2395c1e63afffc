"""Merges: what the journals hold beyond a database is published into it, by one process at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from prunebench.errors import StoreError, encodable
from prunebench.store import publish
from prunebench.store.journal import Damage, folder_of, journals_of


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
    lost: list[str] = field(default_factory=list)  # files that could not be read and were the only place of results
    seconds: float = 0.0

    def lose(self, line: str) -> None:
        """Say what is missing from now on; who asked ends with another exit code than 0."""
        self.lost.append(line)
        self.notes.append(line)


class Merger:
    """The merges of one database."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if "\\" in str(self.path):  # said before anything runs: DuckDB takes it for the end of a folder
            raise StoreError(f"{self.path}: a path with a backslash cannot be opened; choose another with --db")
        if encodable(str(self.path)) != str(self.path):
            raise StoreError(f"{encodable(str(self.path))}: the path is not UTF-8; choose another with --db")
        self.folder = folder_of(self.path)
        self._seen: tuple[object, ...] = ()  # what the folder looked like after the last merge

    def merge(self, wait_seconds: float = 0.2) -> MergeReport:
        """Publish what the journals hold beyond the database; never waits for readers.

        Raises StoreError for what the user has to fix; a merge that another process is doing already is postponed.
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

        from prunebench.store.database import DamagedDatabase, HeldDatabase, damage
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
            if "Corrupt database" in str(error) or "corrupt database" in str(error):  # a block that only now was needed
                self._start_anew(damage(self.path, str(error)), report)
                return
            self._postpone(report, str(error).splitlines()[0])
            return
        self._seen = self.look() if looked[:2] == self.look()[:2] else ()

    def _postpone(self, report: MergeReport, why: str) -> None:
        """A full disk stops no run by a merge, for nothing is lost by it; the journal says so when it cannot go on."""
        if "no space left" not in why.lower():
            raise StoreError(f"{self.path}: cannot be published: {why.lower()}")
        report.merged, report.postponed = False, f"{self.path}: no space left; the results are safe in {self.folder}"

    def _start_anew(self, damaged: StoreError, report: MergeReport, asked: bool = False) -> None:
        """Set the damaged file aside and publish what the journals have, and what else could be read of it."""
        from prunebench.store import recovery
        from prunebench.store.database import PUBLISHED
        from prunebench.store.merging import merge_into

        is_alone = not self.journals() and not list(self.folder.glob("import-*.duckdb"))
        if is_alone and not asked:
            raise damaged
        is_ours = (self.folder / PUBLISHED).exists()  # or else no merge here has seen it: a file that was given away
        known = publish.published_count(self.path)
        recovered = recovery.recover(self.path, self.path, known, is_alone, recovery.OURS if is_ours else "")
        if is_ours:
            said = f"moved to {recovered.moved.name} and rebuilt from the journals"
            kept = f"; {recovered.found.result_count} results of no journal were read of it" if recovered.kept else ""
            report.notes.append(f"{self.path}: could not be read, {said}{kept}")
        else:
            recovery.tell(recovered, str(self.path), report)
        report.merged = merge_into(self.path, self.journals(), report)
        if is_ours:
            recovery.tell_missing(recovered, report.result_count, report)
