"""The results of many runs in one place: journals that acknowledge, a database that people query."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import NewerDatabase, NotADatabase, StoreError
from prunebench.records import Run
from prunebench.store import publish
from prunebench.store.journal import Journal, journal_path
from prunebench.store.merger import Merger, MergeReport

if TYPE_CHECKING:
    from prunebench.store.finished import Ending


class Store(Merger):
    """The journals beside one database file, and the merges that publish them into it."""

    def open_run(self, run: Run) -> Journal:
        """A new journal for `run`, on the disk with the run in it; raises StoreError where it cannot be written."""
        return Journal(journal_path(self.path, run.id), run)

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

    def rebuild(self) -> MergeReport:
        """The database anew from the journals; the old file is set aside.

        What no journal holds is taken along: of a file that was given away, and of a damaged one as far as it can be
        read. Raises StoreError where that is nothing.
        """
        from prunebench.store.database import DamagedDatabase
        from prunebench.store.taking import require_whole

        start, report = time.perf_counter(), MergeReport()
        is_alone = not self.journals() and not list(self.folder.glob("import-*.duckdb"))
        if is_alone and not self.path.exists():
            raise StoreError(f"{self.folder}: no journal to rebuild from")
        with publish.merge_lock(self.path, wait_seconds=30):
            try:
                if self.path.exists():
                    with contextlib.suppress(NewerDatabase, NotADatabase):  # moved aside as it is
                        require_whole(self.path)
                        self._keep_its_own(report, is_alone)
                    report.notes.append(f"the old file is {publish.set_aside(self.path, 'before-rebuild')}")
                self._merge(report)
            except DamagedDatabase as damaged:
                self._start_anew(damaged, report, asked=True)
        report.seconds = time.perf_counter() - start
        return report

    def _keep_its_own(self, report: MergeReport, is_alone: bool) -> None:
        from prunebench.store.taking import keep_what_no_journal_holds, replace_damaged_copies

        if is_alone:
            raise StoreError(f"{self.folder}: no journal to rebuild from; {self.path} can be read whole as it is")
        if kept := keep_what_no_journal_holds(self):
            report.notes.append(f"{self.path}: holds results of no journal here; a copy is kept as {kept}")
        report.notes += replace_damaged_copies(self)

    def unread(self) -> list[Path]:
        """Files that were set aside unread, or read in part, that may have been the only place of results."""
        return publish.unread_beside(self.path)

    def check(self) -> list[str]:
        """What is wrong with the database or a journal, a line each; raises as `store.check.faults` does."""
        from prunebench.store.check import faults

        return list(faults(self.path, self.journals()))
