"""How long a report takes and how large it is: `python benchmarks/report_speed.py [--trials 200 10000]`.

Synthetic results (tests/framework/report/synthetic.py) are stored as one run; `bench report` is then called as a person
would, interpreter start included, and the best of three calls is printed beside the bound.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

BOUNDS = {200: (3.0, 5.0), 10_000: (5.0, 5.0)}  # trials -> seconds, MB
MODELS = ("lenet5", "simple_fcn")
METHODS = ("magnitude", "low_rank", "pca", "random")


def results(count: int) -> Iterator[object]:
    """`count` results: two data sets, two models, four methods, three seeds, as many settings as it takes."""
    from tests.framework.report import synthetic

    per_cell = -(-count // 48)
    settings = [1.5 + 30 * place / per_cell for place in range(per_cell)]
    return islice(synthetic.grid_results(models=MODELS, methods=METHODS, compressions=settings), count)


def store(folder: Path, count: int) -> Path:
    """A database of `count` trials; the journal is written without waiting for the disk at every line."""
    from prunebench.store import Store

    from tests.framework.report import synthetic

    sync, os.fdatasync = os.fdatasync, lambda _: None
    path = folder / "results.duckdb"
    kept = list(results(count))
    record = replace(synthetic.run_record(trial_count=count), trial_ids=tuple(r.trial.id for r in kept))
    try:
        journal = Store(path).open_run(record)
        for result in kept:
            journal.append(result)
        journal.close()
    finally:
        os.fdatasync = sync
    Store(path).merge()
    return path


def timed(path: Path, output: Path) -> tuple[float, float]:
    """Seconds of wall and of CPU, children included, that one `bench report` takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "prunebench", "report", "--db", str(path), "-o", str(output)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=list(BOUNDS))
    print(f"{'trials':>7} {'wall s':>7} {'CPU s':>6} {'MB':>5}  bound")
    for count in parser.parse_args().trials:
        with tempfile.TemporaryDirectory() as folder:
            path, output = store(Path(folder), count), Path(folder) / "report.html"
            wall, cpu = min(timed(path, output) for _ in range(3))
            size = output.stat().st_size / 1e6
        seconds, megabytes = BOUNDS.get(count, (float("nan"),) * 2)
        print(f"{count:>7,} {wall:>7.2f} {cpu:>6.2f} {size:>5.2f}  {seconds:g} s, {megabytes:g} MB")


if __name__ == "__main__":
    main()
