"""Where a worker's CPU goes in a cold sweep: the trials of paper.toml on one network and seed, under cProfile.

    python benchmarks/sweep_profile.py [--model simple_fcn] [--every 1] [--own 25] [--plain]

The trials run one after another on a fresh workbench in this process, exactly as a worker runs them; timing (pairs of
forward passes of dense and pruned) is work as well. `--plain` runs without the profiler: CPU seconds and no shares.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from pathlib import Path

GRID = Path(__file__).parents[1] / "grids" / "paper.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="simple_fcn")
    parser.add_argument("--every", type=int, default=1, help="of that many trials one: 3 takes every third")
    parser.add_argument("--own", type=int, default=25, help="functions listed by their own time")
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    profiler = cProfile.Profile(time.process_time)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRUNEBENCH_LOCKS"] = folder
        started = time.process_time()
        if not options.plain:
            profiler.enable()
        ended = sweep(options.model, options.every, folder)
        profiler.disable()
        spent = time.process_time() - started
    print(f"{len(ended)} trials, {spent:.2f} CPU seconds, imports included; ended: {sorted(set(ended))}")
    if not options.plain:
        stats = pstats.Stats(profiler)
        stats.sort_stats("tottime").print_stats(options.own)
        stats.sort_stats("cumulative").print_stats(r"prunebench|<frozen importlib._bootstrap>", 4 * options.own)


def sweep(model: str, every: int, folder: str) -> list[str]:
    """How the trials ended."""
    from prunebench.grid.grid import Grid
    from prunebench.grid.plan import plan
    from prunebench.plugins.discovery import find_installed
    from prunebench.trial.runner import open_workbench

    planned = plan(Grid.parse(GRID.read_text(encoding="utf-8")), find_installed()).trials
    trials = [trial for trial in planned if trial.model.use == model and trial.seed == 0][::every]
    settings = {"data_dir": folder, "checkpoints": folder, "threads_per_slot": 1}
    runner = open_workbench(settings, "cpu", lambda phase, fraction: None)
    return [runner.run_trial(trial).status for trial in trials]


if __name__ == "__main__":
    main()
