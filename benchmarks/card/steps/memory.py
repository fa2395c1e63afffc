"""A trial that does not fit on the device is `oom`, and the ones after it are fine."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from prunebench.engine.session import run as run_grid
from prunebench.grid.grid import Grid

from card.record import Record
from card.steps.quickstart import asked

HERE = Path(__file__).parents[1]
GRID = """
[protocol]
train = { epochs = 1 }
latency = { batch = [16], max_seconds = 0.1 }
[[block]]
dataset = "digits"
model = "simple_fcn"
seed = 0
method = ["fills_the_device", { use = "magnitude", keep = 0.5 }, { use = "low_rank", rank = 8 }]
"""
TRIALS = 4
SLACK_BYTES = 256 << 20  # of the card's free memory, before and after


def run(record: Record) -> None:
    """Four trials of one network: the dense one, one that asks for more than there is, and two others."""
    folder = record.path.parent / "memory"
    shutil.rmtree(folder, ignore_errors=True)
    free = free_bytes(record.device)
    outcome = run_grid(
        Grid.parse(GRID, name="memory", source="memory"),
        db=folder / "results.duckdb",
        devices="cuda:0" if record.device == "cuda" else "cpu:1",
        plugin_files=(HERE / "fills_the_device.py",),
        report=False,
    )
    left = free_bytes(record.device)
    record.row(trials=outcome.planned_count, statuses=outcome.statuses, seconds=round(outcome.seconds, 1))
    for row in asked(folder / "results.duckdb", "select model, method, status, reason from trials order by all"):
        record.row(**row)
        wanted = "oom" if row["method"] == "fills_the_device" else "ok"
        record.check(f"{row['model']}, {row['method']} is {wanted}", row["status"] == wanted, row["status"])
    record.check("all four trials ended", sum(outcome.statuses.values()) == TRIALS, outcome.statuses)
    record.row(free_before=free, free_after=left)
    record.check("the memory is free again", left >= free - SLACK_BYTES, f"{free} and {left}")
    shutil.rmtree(folder, ignore_errors=True)


def free_bytes(device: str) -> int:
    """Of the card; 0 on a CPU, whose memory others use as well."""
    return int(torch.cuda.mem_get_info(0)[0]) if device == "cuda" else 0
