"""A paper's part of a page: its citation, its numbers beside ours, what differs and why, and how to run it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.chart import Chart
from prunebench.errors import PruneBenchError
from prunebench.published import with_published
from prunebench.report.frame import cleaned
from prunebench.report.markdown import html_of
from prunebench.report.markup import code, details, esc, paragraph, section, table
from prunebench.report.page import Page, chart_entry, figure
from prunebench.report.scope import Scope
from prunebench.store import open_results

if TYPE_CHECKING:
    import polars as pl

    from prunebench.contracts import Paper
    from prunebench.discovery import Installed

ROWS_AT_MOST = 400


def find_paper(name: str, installed: Installed) -> Paper:
    """The installed paper called `name`; raises PluginError naming those that there are."""
    paper: Paper = installed.find("paper", name).cls()
    return paper


def paper_sections(paper: Paper, db: Path | str, run_id: str, page: Page) -> list[tuple[str, str, str]]:
    """Sections as a page takes them: published beside ours, figures, deviations, the commands."""
    parts = [
        ("published", "Published and ours", section("published", "Published and ours", *_compared(paper, db, run_id)))
    ]
    if drawn := "".join(_figures(paper, db, run_id, page)):
        figures = section("figures", "The paper's figures", f'<div class="charts">{drawn}</div>')
        parts.insert(0, ("figures", "The paper's figures", figures))
    if notes := paper.notes():
        parts.append(("notes", "What differs", section("notes", "What differs, and why", html_of(notes))))
    again = f"bench run --grid {paper.name}\nbench claims {paper.name}\nbench report --paper {paper.name}"
    parts.append(("again", "Run it again", section("again", "Run it again", code(again, "commands"))))
    return parts


def _compared(paper: Paper, db: Path | str, run_id: str) -> list[str]:
    link = f'<p><a href="{esc(paper.paper)}">{esc(paper.paper)}</a></p>' if paper.paper.startswith("https://") else ""
    head = [paragraph(paper.citation), link]
    sql = paper.comparison()
    if not sql:
        return [*head, _table(paper.published()), paragraph("There is no comparison query for this paper.", "note")]
    try:
        rows = _rows(db, run_id, sql)
    except PruneBenchError as error:
        return [*head, paragraph(f"The comparison could not be made: {error}", "empty"), details("Query", code(sql))]
    return [*head, _table(rows), details("Query", code(sql, "comparison"))]


def paper_charts(paper: Paper) -> Iterator[tuple[Chart, str]]:
    """The paper's figures and their queries, with its published numbers in them."""
    for cls in paper.figures():
        chart: Chart = cls()
        yield chart, with_published(chart.sql, paper.published())


def _figures(paper: Paper, db: Path | str, run_id: str, page: Page) -> Iterator[str]:
    for chart, sql in paper_charts(paper):
        text = Scope(run_id).limit(sql)
        try:
            with open_results(db) as results:
                frame = cleaned(results.query(text))
        except PruneBenchError as error:
            yield paragraph(f"{chart.title} could not be drawn: {error}", "empty")
            continue
        if frame.height:
            page.charts.append(chart_entry(chart, frame, text, page.series))
            yield figure(chart, "")


def _rows(db: Path | str, run_id: str, sql: str) -> list[dict[str, Any]]:
    with open_results(db, run_id) as results:
        frame: pl.DataFrame = cleaned(results.query(sql))
    return frame.to_dicts()


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return paragraph("There is no row to show.", "empty")
    names = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    numeric = {name: any(isinstance(row[name], int | float) for row in rows) for name in names}
    heads = [(name.replace("_", " "), "number" if numeric[name] else "") for name in names]
    more = paragraph(f"The first {ROWS_AT_MOST} of {len(rows):,} rows.", "note") if len(rows) > ROWS_AT_MOST else ""
    return table(heads, [[_cell(row[name]) for name in names] for row in rows[:ROWS_AT_MOST]]) + more


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else esc(value)
