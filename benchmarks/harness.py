"""What the harness itself costs: no-op trials through plan, workers, journal and database; start-up; resuming.

    python benchmarks/harness.py [--trials 1000]

CPU seconds of this process and its children, on every figure; nothing is trained or timed inside the trials.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prunebench.engine.activity import ActivityFile, Tally, activity_path
from prunebench.engine.executors import Finished, WorkSettings, make_executor
from prunebench.engine.session import _Merges
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.records import Run
from prunebench.store import Store

GRID = """
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = {{ range = [0, {seeds}] }}
method = {{ use = "magnitude", keep = {{ linspace = [0.01, 1, {settings}] }} }}
"""


class NoOp:
    """A runner that says ok."""

    def run_trial(self, trial):
        """A result without a measurement."""
        from prunebench.records import Result

        return Result(trial, "ok")


def open_workbench(settings, device, progress):
    """What the worker calls."""
    return NoOp()


def cpu_seconds() -> float:
    """User and system time of this process and of its ended children."""
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def trials_of(count: int):
    """About `count` planned trials of ten dense networks."""
    text = GRID.format(seeds=10, settings=max(1, count // 10 - 1))
    return plan(Grid.parse(text), find_installed(), limit=10**7).trials


def overhead(count: int, folder: Path) -> tuple[float, float]:
    """CPU milliseconds per trial, workers' start included, and without it."""
    trials = trials_of(count)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    started = cpu_seconds()
    run_all(trials[:2], folder / "warm")
    start_up = cpu_seconds() - started
    started = cpu_seconds()
    run_all(trials, folder / "full")
    spent = cpu_seconds() - started
    return 1000 * spent / len(trials), 1000 * (spent - start_up) / len(trials)


def run_all(trials, folder: Path) -> None:
    """Every trial through two workers into the database."""
    settings = WorkSettings(data_dir=str(folder), checkpoints=str(folder), log_dir=str(folder / "logs"))
    executor = make_executor("local", "cpu:2", settings, runner="harness:open_workbench")
    store = Store(folder / "results.duckdb")
    journal = store.open_run(Run("r", "r", "2026-01-01T00:00:00+00:00", trial_count=len(trials)))
    merges = _Merges(store)
    with ActivityFile(activity_path(store.path, "r"), "r", Tally(len(trials), 0)) as activity:
        for event in executor.run(trials):
            if isinstance(event, Finished):
                journal.append(event.result)
                merges.tick()
            activity.take(event)
    journal.close()
    store.merge()


def resuming(count: int, folder: Path) -> float:
    """CPU seconds to find `count` finished trials done, planning included."""
    started = cpu_seconds()
    trials = trials_of(count)
    finished = Store(folder / "full" / "results.duckdb").finished([trial.id for trial in trials])
    assert len(finished) == len(trials), (len(finished), len(trials))
    return cpu_seconds() - started


def command_seconds(*words: str, cwd: Path) -> float:
    """CPU seconds of a command."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "prunebench", *words], cwd=cwd, check=True, capture_output=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PRUNEBENCH_LOCKS"] = name  # wait for no other run's slots
        began = time.monotonic()
        whole, steady = overhead(options.trials, folder)
        rows = [
            (f"{options.trials} no-op trials, stored, CPU ms per trial, start-up included", whole),
            ("the same without the workers' start", steady),
            (f"find {options.trials} done, planning included, CPU s", resuming(options.trials, folder)),
            ("bench --help, CPU s", min(command_seconds("--help", cwd=folder) for _ in range(3))),
        ]
        database = str(folder / "full" / "results.duckdb")
        query = ("query", "select count(*) from trials", "--db", database)
        rows.append(("bench query, CPU s", min(command_seconds(*query, cwd=folder) for _ in range(3))))
        for words, value in rows:
            print(f"{value:8.3f}  {words}")
        print(f"{time.monotonic() - began:8.1f}  seconds in all")


if __name__ == "__main__":
    main()
