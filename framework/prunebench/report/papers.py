"""A paper's part of a page: its citation, its numbers beside ours, what differs and why, and how to run it again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import PluginError, PruneBenchError
from prunebench.plugins.chart import Chart
from prunebench.plugins.published import with_published
from prunebench.report.comparison_table import tables
from prunebench.report.frame import cleaned, thinned
from prunebench.report.guard import guarded
from prunebench.report.markdown import html_of
from prunebench.report.markup import code, details, esc, paragraph, section
from prunebench.report.page import Page, placed
from prunebench.report.scope import Scope
from prunebench.store import open_results

if TYPE_CHECKING:
    import polars as pl

    from prunebench.plugins.contracts import Paper
    from prunebench.plugins.discovery import Installed


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
        return [*head, tables(paper.published()), paragraph("There is no comparison query for this paper.", "note")]
    try:
        rows = _rows(db, run_id, sql)
    except PruneBenchError as error:
        return [*head, paragraph(f"The comparison could not be made: {error}", "empty"), details("Query", code(sql))]
    return [*head, tables(rows), details("Query", code(sql, "comparison"))]


def paper_charts(paper: Paper) -> Iterator[Chart]:
    """The paper's figures, with its published numbers in their queries."""
    for cls in paper.figures():
        yield paper_chart(paper, cls)


def paper_chart(paper: Paper, cls: type[Chart]) -> Chart:
    """One of the paper's figures, with its published numbers in its query."""
    filled = {"sql": with_published(cls().sql, paper.published()), "__doc__": cls.__doc__}
    chart: Chart = type(cls.__name__, (cls,), filled)()
    return chart


def figure_names(installed: Installed) -> list[tuple[str, str, str]]:
    """Name, title and paper of every installed paper's figures."""
    papers = [plugin.cls() for _, plugin in sorted(installed.of_kind("paper").items())]
    return [(cls.name, cls.title, paper.name) for paper in papers for cls in paper.figures()]


def find_figure(name: str, installed: Installed) -> Chart | None:
    """The figure called `name` of an installed paper, if there is one."""
    whose = [paper for figure, _, paper in figure_names(installed) if figure == name]
    charts = paper_charts(find_paper(whose[0], installed)) if whose else ()
    return next((chart for chart in charts if chart.name == name), None)


def _figures(paper: Paper, db: Path | str, run_id: str, page: Page) -> Iterator[str]:
    for cls in paper.figures():
        try:
            yield from guarded(cls.name, partial(_figure, paper, cls, db, run_id, page))
        except PluginError as error:
            yield paragraph(str(error), "empty")


def _figure(paper: Paper, cls: type[Chart], db: Path | str, run_id: str, page: Page) -> list[str]:
    chart = paper_chart(paper, cls)
    text = Scope(run_id).limit(chart.sql)
    with open_results(db) as results:
        frame, few = thinned(cleaned(results.query(text)))
    return placed(chart, frame, text, page, few)


def _rows(db: Path | str, run_id: str, sql: str) -> list[dict[str, Any]]:
    with open_results(db, run_id) as results:
        frame: pl.DataFrame = cleaned(results.query(sql))
    return frame.to_dicts()
