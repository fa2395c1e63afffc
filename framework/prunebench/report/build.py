"""From results to the text of a page."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.errors import PluginError
from prunebench.plugins.chart import Chart
from prunebench.plugins.discovery import Installed
from prunebench.report import sections
from prunebench.report.charts import load_page
from prunebench.report.frame import cleaned, payload, thinned
from prunebench.report.guard import guarded
from prunebench.report.headlines import COLUMNS, by_setting, headline, sql
from prunebench.report.labels import labelled, short_labels
from prunebench.report.markup import paragraph, section
from prunebench.report.metrics import metrics_section
from prunebench.report.page import Page, placed, render
from prunebench.report.papers import paper_sections
from prunebench.report.plugin_charts import brought, made, unusable
from prunebench.report.scope import Queryable, Scope
from prunebench.report.style import Series, series_of
from prunebench.report.timing import about_flags, timed_how
from prunebench.report.verdict_sections import audit_section, claims_section

if TYPE_CHECKING:
    import polars as pl

    from prunebench.plugins.contracts import Paper
    from prunebench.report.verdict_sections import Judgements

FINDER = (
    '<div class="finder"><input type="search" id="search" placeholder="Search settings" aria-label="Search settings">'
    '<span class="soft" id="count" role="status"></span>'
    '<button type="button" id="clear" hidden>Clear selection</button>'
    '<button type="button" class="quiet" id="table-csv">CSV</button></div>'
    '<div class="scroll" tabindex="0"><table id="headline"></table></div>'
    '<p><button type="button" id="more" hidden></button></p>'
)
HINT = (
    "Drag over a chart of scores to select settings; shift and drag to pan, ctrl and wheel to zoom, double-click to go "
    "back."
)


@dataclass(frozen=True)
class Extras:
    """What a page about a run has beside its trials."""

    db: Path
    judgements: Judgements | None = None
    paper: Paper | None = None
    refresh_seconds: int | None = None
    installed: Installed = Installed()


@dataclass(frozen=True)
class Material:
    """The frames behind a page, each asked for once."""

    results: Queryable
    scope: Scope

    def ask(self, name: str) -> pl.DataFrame:
        """The rows of one of the package's queries, as text that can be shown."""
        return self.results.query(self.scope.limit(sql(name)))

    @cached_property
    def runs(self) -> pl.DataFrame:
        """The runs that asked for the trials; first the one that the page is about, where it is about one."""
        found = self.ask("run")
        is_own = found["run_id"] == (self.scope.run_id or "")
        return found.filter(is_own).vstack(found.filter(~is_own))

    @cached_property
    def endings(self) -> pl.DataFrame:
        """How the trials ended."""
        return cleaned(self.ask("endings"))

    @cached_property
    def settings(self) -> tuple[pl.DataFrame, list[str]]:
        """A row per setting, and the names of the batch sizes."""
        rows = cleaned(headline(self.results, self.scope))
        return by_setting(labelled(rows, short_labels(rows.select("method", "setting").iter_rows())))

    @cached_property
    def labels(self) -> dict[str, str]:
        """Full name of a setting -> its short one, the same in every chart."""
        return dict(self.settings[0].select("setting", "label").iter_rows())

    @cached_property
    def series(self) -> list[Series]:
        """The methods with their looks."""
        return series_of(
            (name, bool(control)) for name, control in self.endings.select("method", "control").iter_rows()
        )

    @cached_property
    def missing(self) -> int:
        """Trials of the run that have no result yet."""
        if self.scope.run_id is None or self.runs.is_empty():
            return 0
        planned = self.runs.row(0, named=True)["trial_count"] or 0
        return max(0, int(planned) - int(self.endings["trial_count"].sum()))


def build(results: Queryable, scope: Scope, extras: Extras) -> str:
    """The text of the page about `scope`."""
    material = Material(results, scope)
    page = Page(title=_title(material, extras.paper), kicker=_kicker(material), refresh_seconds=extras.refresh_seconds)
    settings, page.parts = material.settings
    page.series, page.panels = material.series, settings["panel"].unique(maintain_order=True).to_list()
    page.lead = sections.lead(material.endings, list(page.parts), timed_how(material.ask("protocols")))
    page.facts = sections.facts(material.endings, material.missing)
    page.headline = payload(settings, COLUMNS)
    figures = list(_figures(material, page, extras.installed))
    page.sections = list(_sections(material, settings, page, figures, extras))
    page.foot = _foot(material)
    return render(page)


def _sections(
    material: Material, settings: pl.DataFrame, page: Page, figures: list[str], extras: Extras
) -> Iterator[tuple[str, str, str]]:
    yield "results", "Results", section("results", "What came out", _results(material, settings, page))
    if extras.paper and material.scope.run_id:
        yield from paper_sections(extras.paper, extras.db, material.scope.run_id, page)
    hint = "" if settings.is_empty() else paragraph(HINT, "note hint")
    charts = f'{hint}<div class="charts">{"".join(figures)}</div>' if figures else ""
    yield "charts", "Charts", section("charts", "Charts", charts or paragraph("There is nothing to draw yet.", "empty"))
    yield "settings", "Settings", section("settings", "Every setting", "" if settings.is_empty() else FINDER)
    if told := metrics_section(labelled(cleaned(material.ask("metrics")), material.labels)):
        yield "metrics", "Metrics", told
    yield "missing", "Failed and declined", sections.refused(material.ask("refused"), material.missing)
    if extras.judgements and (claims := claims_section(extras.judgements.claims)):
        yield "claims", "Claims", claims
    if extras.judgements:
        yield "audit", "Audit", audit_section(extras.judgements.points)
    yield "asked", "What was asked", sections.asked(material.runs)
    yield "provenance", "Provenance", sections.provenance(material.ask("machines"), material.ask("protocols"))


def _results(material: Material, settings: pl.DataFrame, page: Page) -> str:
    if settings.is_empty():
        return paragraph("No trial has been measured, so that there is no score to show.", "empty")
    flags = about_flags(material.ask("flags").to_dicts())
    told = [sections.glance(settings, list(page.parts)), *sections.cautions(settings, list(page.parts), flags)]
    return "\n".join(part for part in told if part)


def _figures(material: Material, page: Page, installed: Installed) -> Iterator[str]:
    for chart in load_page():
        yield from _figure(chart, material, page)
    for plugin in brought(installed):
        try:
            yield from guarded(plugin.name, partial(_brought, made(plugin), material, page, plugin.source))
        except PluginError as error:
            yield paragraph(str(error), "empty")
    yield from (paragraph(line, "empty") for line in unusable(installed))


def _figure(chart: Chart, material: Material, page: Page) -> list[str]:
    """The place of a bundled chart in the page, and its data in `page.charts`; nothing where it has no rows."""
    text = material.scope.limit(chart.sql)
    frame = labelled(cleaned(material.results.query(text)), material.labels)
    return placed(chart, frame, text, page, grouping_note(frame))


def _brought(chart: Chart, material: Material, page: Page, source: str) -> list[str]:
    """The same for a chart of a plugin, whose query need not know how many rows a page can bear."""
    text = material.scope.limit(chart.sql)
    frame, few = thinned(cleaned(material.results.query(text)))
    notes = filter(None, [grouping_note(frame), few, f"From {source}."])
    return placed(chart, labelled(frame, material.labels), text, page, " ".join(notes))


def grouping_note(frame: pl.DataFrame) -> str:
    """What to say where rows stand for several settings, otherwise nothing."""
    most: Any = frame["point_count"].max() if "point_count" in frame.columns and frame.height else 1
    return f"To stay light, a row stands for up to {int(most)} settings." if int(most) > 1 else ""


def _title(material: Material, paper: Paper | None) -> str:
    if paper:
        return paper.title
    if material.scope.query is not None:
        return "Results of a query"
    if material.scope.run_id is not None and material.runs.height:
        row = material.runs.row(0, named=True)
        return _titled(row["grid"]) or str(row["run_name"] or material.scope.run_id)
    return "All results" if material.scope.run_id is None else str(material.scope.run_id)


def _titled(grid: str | None) -> str:
    """The title that a grid's text gives itself, empty for none."""
    try:
        return str(tomllib.loads(grid or "").get("title", ""))
    except ValueError:
        return ""


def _kicker(material: Material) -> str:
    if material.runs.is_empty():
        return "prunebench"
    row: dict[str, Any] = material.runs.row(0, named=True)
    day = f"{row['started_at']:%d %B %Y}".lstrip("0") if row["started_at"] else ""
    scale = f"{row['scale']} scale" if row["scale"] else ""
    return " · ".join(
        part for part in ("prunebench", row["run_id"] if material.scope.run_id else "", scale, day) if part
    )


def _foot(material: Material) -> str:
    from prunebench import __version__

    now = datetime.datetime.now(datetime.UTC)
    return f"Written {now:%Y-%m-%d %H:%M} UTC by prunebench {__version__}. The file is complete: it loads nothing."
