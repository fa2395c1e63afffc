"""How far a run is, as its database and journal tell it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.report.scope import literal


@dataclass(frozen=True)
class Progress:
    """A run seen from outside: its planned trials, those that have a row, and its last rows."""

    run_id: str
    planned: int
    done: int
    started_at: Any
    endings: dict[str, int]
    mean_seconds: float | None
    last: tuple[dict[str, Any], ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether every planned trial has a row."""
        return self.done >= self.planned


def progress(db: Path | str, run_id: str, last: int = 8) -> Progress:
    """The state of `run_id`, the last second's trials included."""
    from prunebench.store import open_results

    scope = f"select trial_id from run_trials where run_id = {literal(run_id)}"
    with open_results(db) as results:
        run = results.query(f"select trial_count, started_at from runs where run_id = {literal(run_id)}").row(
            0, named=True
        )
        endings = results.query(
            "select status, count(*) as trial_count, sum(seconds) as seconds from trials "
            f"where trial_id in ({scope}) group by status order by status"
        )
        rows = results.query(
            "select status, reason, dataset_label, model_label, method_label, seed, top1_accuracy, compression_ratio, "
            f"speedup, batch, seconds from trials where trial_id in ({scope}) "
            f"order by started_at desc nulls last, trial_id limit {last:d}"
        )
    done, seconds = int(endings["trial_count"].sum()), float(endings["seconds"].sum() or 0)
    counts = dict(endings.select("status", "trial_count").iter_rows())
    mean = seconds / done if done else None
    return Progress(run_id, run["trial_count"] or done, done, run["started_at"], counts, mean, tuple(rows.to_dicts()))
