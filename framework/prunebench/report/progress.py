"""How far a run is, as its database and journal tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prunebench.report.scope import Queryable
from prunebench.writing import quoted


@dataclass(frozen=True)
class Progress:
    """A run seen from outside: its planned trials, those that have a row, and its last rows."""

    run_id: str
    planned: int
    done: int
    started_at: Any
    endings: dict[str, int]
    last: tuple[dict[str, Any], ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether every planned trial has a row."""
        return self.done >= self.planned


def progress(results: Queryable, run_id: str, last: int = 8) -> Progress:
    """The state of `run_id`, the last second's trials included."""
    scope = f"select trial_id from run_trials where run_id = {quoted(run_id)}"
    run = results.query(f"select trial_count, started_at from runs where run_id = {quoted(run_id)}").row(0, named=True)
    endings = results.query(
        "select status, count(*) as trial_count from trials "
        f"where trial_id in ({scope}) group by status order by status"
    )
    rows = results.query(
        "select status, reason, dataset_label, model_label, method_label, seed, top1_accuracy, score, score_title, "
        "score_unit from trials "
        f"where trial_id in ({scope}) order by started_at desc nulls last, trial_id limit {last:d}"
    )
    done, counts = int(endings["trial_count"].sum()), dict(endings.select("status", "trial_count").iter_rows())
    return Progress(run_id, run["trial_count"] or done, done, run["started_at"], counts, tuple(rows.to_dicts()))
