"""What it costs to plan a large grid, and to plan one again whose trials are done.

    python benchmarks/planning.py [--cells 1000000] [--done 100000]

Each in a process of its own, from the grid's text to the list of trials to run, imports of plugins included: seconds
on the clock, CPU seconds, and the most memory. The done trials are rows without a measurement in a merged database.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

from prunebench.engine.session import prepare
from prunebench.grid.grid import Grid
from prunebench.records import Result, Run
from prunebench.store import Store

NETWORKS = 100
LIMIT = 10**8
GRID = """
[[block]]
dataset = "digits"
model = "lenet5"
seed = {{ range = [0, {networks}] }}
method = {{ use = "magnitude", keep = {{ linspace = [0.01, 1, {settings}] }} }}
"""


def grid_of(cells: int) -> Grid:
    """A grid of that many trials, those of the dense networks included."""
    return Grid.parse(GRID.format(networks=NETWORKS, settings=cells // NETWORKS - 1))


def prepared(cells: int, database: str) -> dict[str, float]:
    """What `bench run` does before a worker starts, in figures."""
    began = time.monotonic()
    found = prepare(grid_of(cells), db=database, limit=LIMIT)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cells": len(found.plan.trials),
        "to_run": len(found.todo),
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds_of_the_process": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_mb": round(usage.ru_maxrss / 1024),
    }


def finish(cells: int, database: str) -> None:
    """Fill the database as if every trial of the grid had run; without the syncs."""
    store = Store(Path(database))
    trials = prepare(grid_of(cells), db=database, limit=LIMIT).todo
    with mock.patch.object(os, "fdatasync"), store.open_run(Run("r", "r", "2026-01-01T00:00:00+00:00")) as journal:
        for trial in trials:
            journal.append(Result(trial, "ok"))
    store.merge()


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--done", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "results.duckdb")
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
            figures = {"plan": processes.submit(prepared, given.cells, database).result()}
            processes.submit(finish, given.done, database).result()
            figures["plan_again"] = processes.submit(prepared, given.done, database).result()
    figures["load_average"] = round(os.getloadavg()[0], 2)  # type: ignore[assignment]
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
