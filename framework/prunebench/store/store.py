"""The results of many runs in one place: journals that acknowledge, a database that people query."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from prunebench.errors import StoreError
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
