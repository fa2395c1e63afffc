"""A run seen from outside: by the file that it keeps of its activity, else by its database and journal."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prunebench.engine.activity import Activity, Ending, Snapshot, activity_path, read_activity
from prunebench.report.progress import Progress, progress
from prunebench.report.scope import Queryable
from prunebench.report.score import told as score_told
from prunebench.writing import printable


@dataclass(frozen=True)
class Watched:
    """What `bench watch` shows of a run."""

    run_id: str
    state: Snapshot
    is_running: bool | None  # None where it cannot be known
    ended: str = ""  # "complete", "stopped", or empty
    remark: str = ""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return bool(self.ended) or self.is_running is False


def watched(results: Queryable, database: Path, run_id: str) -> Watched:
    """The state of `run_id` now; the database is asked only where the activity does not tell."""
    activity = read_activity(activity_path(database, run_id))
    seen = by_activity(activity) if activity else None
    if seen and (seen.ended or seen.is_running is not False):
        return seen
    stored = by_database(progress(results, run_id))
    return stored if seen is None or stored.ended else seen


def by_activity(activity: Activity) -> Watched:
    """As the run itself tells it."""
    state, process = activity.snapshot, activity.process
    if activity.ended:
        stopped = "stopped before its end: run the same command again to continue"
        remark = stopped if activity.ended == "stopped" else ""
        return Watched(activity.run, state, False, activity.ended, remark)
    is_running = process.is_running()
    if is_running is False:
        gone = f"no longer running (process {process.pid} is gone): run the same command again to continue"
        return Watched(activity.run, state, False, remark=gone)
    elsewhere = f"on {process.host}: whether it still runs cannot be seen from here"
    if is_running is None:  # another host has another clock
        return Watched(activity.run, state, None, remark=elsewhere)
    return Watched(activity.run, state.later(time.monotonic()), True)


def by_database(now: Progress) -> Watched:
    """As its rows tell it: nothing is known of workers."""
    at = datetime.datetime.now(datetime.UTC).timestamp()  # rows have calendar times alone
    started_at = now.started_at.replace(tzinfo=datetime.UTC).timestamp() if now.started_at else at
    left = None if now.is_over or not now.done else max(0.0, at - started_at) / now.done * (now.planned - now.done)
    last = tuple(_ending(now.done - place, row) for place, row in enumerate(now.last))
    state = Snapshot(at, started_at, now.planned, 0, now.done, now.endings, left, last=last[::-1])
    if now.is_over:
        return Watched(now.run_id, state, False, "complete")
    remark = "from stored results only: the run has no activity.json, which says what its workers do"
    return Watched(now.run_id, state, None, remark=remark)


def _ending(place: int, row: dict[str, Any]) -> Ending:
    names = (*(str(row[key]) for key in ("dataset_label", "model_label", "method_label")), f"seed {row['seed']}")
    told = row["reason"] or score_told(row["score_title"], row["score"], row["score_unit"])
    return Ending(place, row["status"], printable(" · ".join(names), 160), printable(told, 160), None)


def json_object(seen: Watched) -> str:
    """For programs; docs/reports.md says what each key means."""
    state = seen.state
    devices = [
        {
            "slot": device.slot,
            "device": device.device,
            "trial": device.trial or None,
            "phase": device.phase or None,
            "fraction": device.fraction,
            "seconds": None if device.since is None else round(state.at - device.since, 3),
        }
        for device in state.devices
    ]
    return json.dumps(
        {
            "run": seen.run_id,
            "planned": state.done_before + state.total,
            "done": state.done_before + state.done,
            "done_before": state.done_before,
            "endings": state.endings,
            "seconds": round(state.at - state.started_at, 3),
            "seconds_left": None if state.seconds_left is None else round(state.seconds_left, 3),
            "devices": devices,
            "last": [asdict(end) for end in state.last],
            "failures": [asdict(end) for end in state.failures],
            "notes": state.notes,
            "is_running": seen.is_running,
            "ended": seen.ended or None,
        }
    )
