"""Published numbers with the protocol that they were measured by: one CSV file per paper, checked as it is read."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from prunebench.errors import DataError
from prunebench.plugins.published import published_rows

NONE = "-"  # the column does not apply; an empty text says that the paper does not tell

UNITS = {
    "top1_accuracy": "percent",
    "accuracy_drop": "points",
    "perplexity": "perplexity",
    "nonzero_parameters": "count",
    "compression_ratio": "ratio",
    "stored_ratio": "ratio",
    "theoretical_speedup": "ratio",
    "speedup": "ratio",
}
QUALITIES = ("printed", "printed by code", "abstract", "quoted", "replication", "second-hand")
RATIO_KINDS = (
    NONE,
    "parameters kept",
    "parameters removed",
    "weights zeroed",
    "width removed",
    "bits per weight",
    "singular values kept",
    "rank",
    "samples",
    "variance kept",
    "clusters",
    "times smaller",
    "times fewer multiplications",
    "times faster",
)
REQUIRED = (
    "paper",
    "source",
    "table",
    "model",
    "dataset",
    "method",
    "ratio_kind",
    "metric",
    "unit",
    "value",
    "quality",
)
CELL = ("model", "dataset", "method", "setting", "ratio", "ratio_kind", "metric")  # what is measured
PROTOCOL = (  # how it is measured
    "revision",
    "dataset_setting",
    "split",
    "join",
    "window",
    "calibration_corpus",
    "calibration_samples",
    "calibration_length",
    "calibration_seed",
    "train",
    "updated",
)


@dataclass(frozen=True)
class LedgerRow:
    """A published number. Texts as in the file: empty where the paper does not tell, "-" where nothing applies."""

    paper: str  # the plugin's name
    version: str  # of the text that the number was read in
    source: str  # who states the number: the paper itself, or who quotes or repeats it
    table: str
    model: str  # by its name here, where there is one
    revision: str
    dataset: str
    dataset_setting: str  # parameters of the data set that matter: "greyscale=true, test=1000"
    split: str
    join: str  # what stands between documents
    window: str  # tokens
    calibration_corpus: str
    calibration_samples: str
    calibration_length: str  # tokens
    calibration_seed: str
    train: str  # recipe of the dense network: "adam lr 0.0001 batch 512 epochs 10"
    method: str
    setting: str  # parameters of the method here: "keep=0.5, pattern=2:4"
    ratio: str
    ratio_kind: str
    updated: str  # whether the network was trained after compression: yes or no
    metric: str
    unit: str
    value: float
    spread: float | None  # standard deviation, in the metric's unit
    repeats: str  # over how many seeds
    quality: str  # how the number came here, one of QUALITIES
    digits: float  # half a unit of the last place that was printed


COLUMNS = tuple(field.name for field in dataclasses.fields(LedgerRow) if field.name != "digits")


def ledger_rows(path: Path, paper: str) -> list[LedgerRow]:
    """The rows of the CSV file at `path`; raises `DataError` naming the line and what is wrong with it."""
    rows = [
        _row(row, paper, f"{path}:{place}") for place, row in enumerate(published_rows(path, COLUMNS), 2)
    ]  # no value holds a line break, so rows are lines
    seen: dict[tuple[object, ...], int] = {}
    for place, row in enumerate(rows, 2):
        key = (row.source, row.table, *(getattr(row, name) for name in (*CELL, *PROTOCOL)))
        if key in seen:
            raise DataError(f"{path}:{place}: the same cell as line {seen[key]}; one number per cell and protocol")
        seen[key] = place
    _require_percentages(rows, path)
    return rows


def _require_percentages(rows: list[LedgerRow], path: Path) -> None:
    """Raise `DataError` for a table whose percentages are all 1 or less: those are shares."""
    largest: dict[str, float] = {}
    for row in rows:
        if row.unit == "percent":
            largest[row.table] = max(row.value, largest.get(row.table, 0.0))
    for table, most in largest.items():
        if 0 < most <= 1:
            raise DataError(f"{path}: {table}: no value is above 1, so they are shares; give percent")


def _row(row: dict[str, str], paper: str, where: str) -> LedgerRow:
    empty = [name for name in REQUIRED if not row[name]]
    if empty:
        raise DataError(f"{where}: {empty[0]} is empty")
    if row["paper"] != paper:
        raise DataError(f"{where}: paper is {row['paper']!r}, the plugin's name is {paper!r}")
    _one_of(row["metric"], tuple(UNITS), "metric", where)
    _one_of(row["quality"], QUALITIES, "quality", where)
    _one_of(row["ratio_kind"], RATIO_KINDS, "ratio_kind", where)
    if row["unit"] != UNITS[row["metric"]]:
        raise DataError(f"{where}: {row['metric']} is in {UNITS[row['metric']]}, got {row['unit']!r}: convert it")
    value = _number(row["value"], "value", where)
    if row["unit"] == "percent" and not 0 <= value <= 100:
        raise DataError(f"{where}: value {row['value']} is not a percentage")
    spread = _number(row["spread"], "spread", where) if row["spread"] else None
    texts = {name: row[name] for name in COLUMNS if name not in ("value", "spread")}
    return LedgerRow(**texts, value=value, spread=spread, digits=_half_digit(row["value"]))


def _one_of(got: str, allowed: tuple[str, ...], name: str, where: str) -> None:
    if got not in allowed:
        raise DataError(f"{where}: {name} must be one of {', '.join(allowed)}, got {got!r}")


def _number(text: str, name: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise DataError(f"{where}: {name} must be a number, got {text!r}") from None
    if not math.isfinite(number):
        raise DataError(f"{where}: {name} must be finite, got {text!r}")
    return number


def _half_digit(text: str) -> float:
    """Half a unit of the last place: 0.005 for "27.65", 50 for "1.3e3"."""
    mantissa, _, exponent = text.lower().partition("e")
    places = len(mantissa.partition(".")[2])
    return float(0.5 * 10.0 ** (int(exponent or 0) - places))
