"""What came out, a row per setting: for the page's table and for the terminal's closing one."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from prunebench.report.scope import Queryable, Scope

if TYPE_CHECKING:
    import polars as pl

TIMED = ("speedup", "speedup_low", "speedup_high", "latency_ms", "verdict")
COLUMNS = {
    "panel": ("data set · model", "text"),
    "method": ("method", "text"),
    "setting": ("method and setting", "text"),
    "label": ("short name", "text"),
    "control": ("control", "bool"),
    "seed_count": ("seeds", "integer"),
    "accuracy": ("score", "share"),
    "accuracy_std": ("std over seeds", "share"),
    "accuracy_drop": ("loss of score", "share"),
    "score_title": ("score of", "text"),
    "score_unit": ("unit of the score", "text"),
    "larger_is_better": ("larger is better", "bool"),
    "near": ("as good as dense", "number"),
    "nearly": ("nearly", "number"),
    "score_floor": ("without a network", "number"),
    "is_at_floor": ("no better than that", "bool"),
    "is_near_floor": ("hardly better than that", "bool"),
    "compression_ratio": ("compression ratio", "ratio"),
    "theoretical_speedup": ("theoretical speedup", "ratio"),
    "stored_bytes": ("stored", "bytes"),
    "stored_ratio": ("stored ratio", "ratio"),
    "prune_seconds": ("prune", "seconds"),
}


def sql(name: str) -> str:
    """A query of this package."""
    return resources.files("prunebench.report").joinpath(f"queries/{name}.sql").read_text(encoding="utf-8")


def headline(results: Queryable, scope: Scope) -> pl.DataFrame:
    """One row per setting and batch size, averaged over seeds; `batch` is NULL where nothing was timed."""
    return results.query(scope.limit(sql("headline")))


def by_setting(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """One row per setting, its timings side by side (`speedup batch 64`), and the names of the batches."""
    import polars as pl

    batches = frame["batch"].drop_nulls().unique().sort().to_list()
    keys = ["panel", "setting"]
    wide = frame.select([name for name in COLUMNS if name in frame.columns]).unique(
        keys, keep="first", maintain_order=True
    )
    for batch in batches:
        renamed = {name: f"{name} batch {batch}" for name in TIMED}
        one = frame.filter(pl.col("batch") == batch).select([*keys, *TIMED]).rename(renamed)
        wide = wide.join(one, on=keys, how="left", maintain_order="left")
    return wide, [f"batch {batch}" for batch in batches]
