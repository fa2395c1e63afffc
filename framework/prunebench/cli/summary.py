"""The closing table of a run: every setting with its score, size and measured speedup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from prunebench.report.labels import short_labels
from prunebench.report.score import floor_words, is_share, score_of_row
from prunebench.report.seeds import ONE_SEED
from prunebench.writing import printable

if TYPE_CHECKING:
    import polars as pl

    from prunebench.report.scope import Queryable

WIDE = 110  # characters; below that the closing table keeps to the essentials
COLUMNS = ("seeds", "score", "smaller", "fewer MACs", "speedup", "95 % interval", "batch", "verdict")
ESSENTIAL = ("score", "smaller", "speedup", "verdict")


def summary_table(results: Queryable, run_id: str, console: Console | None = None) -> None:
    """Print the closing table of a run: every setting's score, size and measured speedup with its verdict."""
    from prunebench.report.headlines import headline
    from prunebench.report.scope import Scope

    frame = headline(results, Scope(run_id=run_id))
    console = console or wide_console()
    console.print(headline_table(frame, is_narrow=console.width < WIDE))


def wide_console() -> Console:
    """A console that does not fold tables to 80 columns where the output is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def headline_table(frame: pl.DataFrame, longest: int = 60, is_narrow: bool = False) -> Table:
    """One row per setting and batch under one heading per data set and model; a narrow one keeps to the essentials."""
    more = f"{frame.height - longest} more rows are in the report" if frame.height > longest else None
    table = Table(box=None, header_style="bold", caption=more, caption_justify="left", pad_edge=False)
    table.add_column("method", overflow="fold", min_width=24)
    kept = [name for name in COLUMNS if not is_narrow or name in ESSENTIAL]
    titles = frame["score_title"].drop_nulls().unique().to_list() if "score_title" in frame.columns else []
    is_classic = titles in ([], ["top-1 accuracy"])
    for name in kept:
        shown = "top-1 %" if name == "score" and is_classic else name
        table.add_column(shown, justify="left" if name == "verdict" else "right", no_wrap=True)
    heading, labels = "", short_labels(frame.select("method", "setting").iter_rows())
    for row in frame.head(longest).iter_rows(named=True):
        group = f"{printable(row['dataset'], 60)} · {printable(row['model'], 60)}"
        group += f", in {row['runtime']}" if row.get("runtime") not in (None, "torch") else ""
        if group != heading:
            of = "" if is_classic else f", {score_heading(row)}"
            table.add_row(Text(group + of, style="bold"))
            heading = group
        cells = summary_cells({**row, "setting": labels[row["setting"]]})
        label = Padding(Text(cells["method"]), (0, 0, 0, 2))  # so that its second line is indented, too
        table.add_row(label, *(Text(cells[name]) for name in kept))
    return table


def score_heading(row: dict[str, Any]) -> str:
    """`r²`, `top-1 accuracy %`, `perplexity, smaller is better`."""
    title, unit, larger = score_of_row(row)
    return printable(title, 40) + (" %" if is_share(unit) else "") + ("" if larger else ", smaller is better")


def summary_cells(row: dict[str, Any]) -> dict[str, str]:
    """One row of the closing table as text; what was not measured is a dash."""
    share = is_share(row.get("score_unit", "fraction"))
    form, times = ("{:.1f}", 100) if share else ("{:.4g}", 1)
    spread = f" ± {form.format(row['accuracy_std'] * times)}" if row["accuracy_std"] is not None else ""
    if row["seed_count"] == 1:
        spread = f" {ONE_SEED}"
    interval = f"[{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]" if row["speedup_low"] is not None else ""
    return {
        "method": printable(row["setting"], 80),
        "seeds": str(row["seed_count"]),
        "score": number(row["accuracy"], form, times) + spread,
        "smaller": number(row["compression_ratio"], "{:.1f}x"),
        "fewer MACs": number(row["theoretical_speedup"], "{:.1f}x"),
        "speedup": number(row["speedup"], "{:.2f}x"),
        "95 % interval": interval,
        "batch": number(row["batch"], "{:.0f}"),
        "verdict": _verdict(row),
    }


def _verdict(row: dict[str, Any]) -> str:
    """A speedup says little of a network that is no better than none."""
    floor = floor_words(row)
    return f"{row['verdict']}, {floor}" if floor and row["verdict"] else row["verdict"] or ""


def number(value: float | None, form: str, times: float = 1) -> str:
    """`value` in `form`, or a dash."""
    return "–" if value is None else form.format(value * times)
