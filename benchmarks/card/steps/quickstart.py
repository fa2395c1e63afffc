"""The quickstart on the device: networks trained there, and the CPU's networks pruned and scored there."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

from prunebench.engine.session import run as run_grid
from prunebench.grid.grid import Grid
from prunebench.store.catalog import open_catalog
from prunebench.store.database import connect

from card.record import Record

ROOT = Path(__file__).parents[3]
EXACT = ("status", "parameter_count", "mac_count")
ROUNDED = ("nonzero_parameter_count", "stored_bytes")  # whether a small entry of a factor is exactly zero is rounding
BY_DATA = ("activation_pca", "pca")  # their ranks come from spectra: one more or less where a share is just reached
# Tolerances, stated before any card has run: of the CPU's own networks a card differs by rounding alone, which may turn
# samples that lie on a border; fine-tuning for two epochs spreads it. Networks trained apart are other networks.
DENSE_POINTS = 0.004  # top-1 of the same dense network: two samples of 500, as convolutions may use TF32
CELL_POINTS = 0.03  # top-1 of any cell after the same network was pruned and fine-tuned
MEAN_POINTS = 0.006  # of all cells, on average, either way
TRAINED_POINTS = 0.02  # mean top-1 of dense networks that the card has trained, against the CPU's
COUNTS_SHARE = 0.05  # parameters, where ranks come from the data
ROUNDED_SHARE = 0.001  # of what is not zero
COLUMNS = f"model, seed, method, method_label, top1_accuracy, {', '.join(EXACT + ROUNDED)}"


def grid(record: Record, timed: bool) -> Grid:
    """The quickstart; at a tenth of the size one seed and three epochs."""
    text = (ROOT / "grids" / "quickstart.toml").read_text()
    if not record.size.is_full:
        text = _changed(
            text, [("epochs = 30", "epochs = 3"), ("range = [0, 3]", "range = [0, 1]"), ("0.25 }", "0.05 }")]
        )
    if not timed:
        text = _changed(text, [("batch = [64]", "batch = []")])
    return Grid.parse(text, name="quickstart", source="quickstart")


def _changed(text: str, changes: list[tuple[str, str]]) -> str:
    for given, wanted in changes:
        if given not in text:
            raise ValueError(f"the quickstart no longer says {given!r}")
        text = text.replace(given, wanted)
    return text


def run(record: Record) -> None:
    """The CPU first; then the device with the CPU's networks; then the device by itself, timed."""
    folder = record.path.parent / "quickstart"
    shutil.rmtree(folder, ignore_errors=True)
    cpu = cells(record, folder / "cpu", "cpu", timed=False)
    shutil.copytree(folder / "cpu" / "checkpoints", folder / "same" / "checkpoints")
    device = "cuda:0" if record.device == "cuda" else "cpu:1"
    same = cells(record, folder / "same", device, timed=False)
    compared(record, cpu, same)
    if record.has_time("the quickstart with training and timing on the device", 20):
        own = cells(record, folder / "own", device, timed=True)
        trained(record, cpu, own, folder / "own" / "results.duckdb")
    shutil.rmtree(folder, ignore_errors=True)


def cells(record: Record, folder: Path, devices: str, timed: bool) -> dict[tuple[Any, ...], dict[str, Any]]:
    """(model, seed, label) -> what the trial came to."""
    database = folder / "results.duckdb"
    outcome = run_grid(grid(record, timed), db=database, devices=devices, report=False)
    where = f"{folder.name}, {devices}"
    record.row(run=where, trials=outcome.planned_count, statuses=outcome.statuses, seconds=round(outcome.seconds, 1))
    record.check(f"every trial ended well ({where})", outcome.is_clean, outcome.statuses)
    rows = asked(database, f"select {COLUMNS} from trials")
    return {(row["model"], row["seed"], row["method_label"]): row for row in rows}


def asked(database: Path, sql: str) -> list[dict[str, Any]]:
    """The rows of a query, without polars."""
    connection = connect()
    try:
        open_catalog(connection, database)
        found = connection.sql(sql)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    finally:
        connection.close()


def compared(record: Record, cpu: dict[Any, dict[str, Any]], same: dict[Any, dict[str, Any]]) -> None:
    """What the device made of the CPU's dense networks, cell by cell."""
    record.check("both have the same cells", set(cpu) == set(same), f"{len(cpu)} and {len(same)}")
    pairs = [(cpu[key], same[key]) for key in sorted(set(cpu) & set(same))]
    off_by = {f"{a['model']} {a['method_label']} {a['seed']}": _unlike(a, b) for a, b in pairs}
    unlike = [f"{name}: {told}" for name, told in off_by.items() if told]
    bounds = f"what is not zero within {ROUNDED_SHARE:.1%}, all of {' and '.join(BY_DATA)} within {COUNTS_SHARE:.0%}"
    record.check(f"counts are equal; {bounds}", not unlike, unlike[:5])
    scored = [(a, b) for a, b in pairs if a["status"] == b["status"] == "ok"]
    off = {f"{a['model']} {a['method_label']} {a['seed']}": b["top1_accuracy"] - a["top1_accuracy"] for a, b in scored}
    dense = [abs(b["top1_accuracy"] - a["top1_accuracy"]) for a, b in scored if a["method"] == "dense"]
    worst = max(off, key=lambda name: abs(off[name]))
    record.row(cells=len(off), worst=worst, worst_points=off[worst], mean_points=fmean(off.values()))
    record.check(f"the same dense networks score alike within {DENSE_POINTS}", max(dense) <= DENSE_POINTS, max(dense))
    record.check(
        f"every cell scores alike within {CELL_POINTS}", abs(off[worst]) <= CELL_POINTS, f"{worst}: {off[worst]}"
    )
    mean = abs(fmean(off.values()))
    record.check(f"all cells score alike within {MEAN_POINTS} on average", mean <= MEAN_POINTS, mean)


def _unlike(a: dict[str, Any], b: dict[str, Any]) -> str:
    """The first figure that differs by more than it may; nothing where none does."""
    for name in EXACT + ROUNDED:
        share = ROUNDED_SHARE if name in ROUNDED else 0.0
        if a["method"] in BY_DATA and name != "status":
            share = COUNTS_SHARE
        if a[name] != b[name] and not (share and abs(a[name] - b[name]) <= share * a[name]):
            return f"{name} {a[name]} and {b[name]}"
    return ""


def trained(record: Record, cpu: dict[Any, dict[str, Any]], own: dict[Any, dict[str, Any]], database: Path) -> None:
    """The networks that the device has trained, and how they were timed."""
    for model in sorted({key[0] for key in cpu}):
        there, here = (_dense_mean(found, model) for found in (own, cpu))
        record.row(model=model, trained_there=there, trained_on_cpu=here)
        holds = abs(there - here) <= TRAINED_POINTS * record.size.of(1, 3)
        record.check(f"{model} trains as well as on the CPU", holds, f"{there:.4f} and {here:.4f}")
    timed = asked(
        database, "select clock, device, count(*) as pairs, median(speedup) as middle from speedups group by all"
    )
    for row in timed:
        record.row(**row)
    clocks = {row["clock"] for row in timed}
    record.check("times are by the device's clock", clocks == {"cuda" if record.device == "cuda" else "cpu"}, clocks)


def _dense_mean(found: dict[Any, dict[str, Any]], model: str) -> float:
    return fmean(row["top1_accuracy"] for row in found.values() if (row["model"], row["method"]) == (model, "dense"))
