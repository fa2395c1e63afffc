"""The page's tables of what metric plugins measured: one per plugin, a row per setting, a column per number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prunebench.report.markup import esc, paragraph, section, table
from prunebench.report.seeds import ONE_SEED

if TYPE_CHECKING:
    import polars as pl

ROWS_AT_MOST = 200
NOTE = "Means over seeds; in grey, the standard deviation over seeds."


def metrics_section(rows: pl.DataFrame) -> str:
    """What each metric plugin says of each setting, from labelled rows of `queries/metrics.sql`; empty without any."""
    if rows.is_empty():
        return ""
    parts = [part for (name,), group in rows.group_by("plugin", maintain_order=True) for part in _table(name, group)]
    return section("metrics", "Metrics", paragraph(NOTE, "note"), *parts)


def _table(name: object, rows: pl.DataFrame) -> list[str]:
    numbers = rows.select("number", "unit").unique().sort("number", "unit").rows()
    lines: dict[tuple[str, str], dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        lines.setdefault((row["panel"], row["label"]), {})[row["number"], row["unit"]] = row
    heads = [("data set · model", ""), ("setting", ""), ("seeds", "number")]
    heads += [(f"{number.replace('_', ' ')} ({unit})", "number") for number, unit in numbers]
    cells = []
    last = ""
    for (panel, label), found in list(lines.items())[:ROWS_AT_MOST]:
        seeds = max(row["seed_count"] for row in found.values())
        shown = [_cell(found.get(number)) for number in numbers]
        cells.append([esc(panel if panel != last else ""), esc(label), str(seeds), *shown])
        last = panel
    note = f"The first {ROWS_AT_MOST} of {len(lines):,} settings." if len(lines) > ROWS_AT_MOST else ""
    panels = [panel for panel, _ in list(lines)[:ROWS_AT_MOST]]
    return [f"<h3>{esc(name)}</h3>", table(heads, cells, panels=panels), paragraph(note, "note") if note else ""]


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "–"
    spread = ONE_SEED if row["seed_count"] == 1 else f"± {_short(row['value_std'])}"
    return f'{_short(row["value"])} <small class="wide">{spread}</small>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
