"""The page: one HTML file that needs no network, whose scripts are named by hash in its own security policy."""

from __future__ import annotations

import base64
import hashlib
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import msgspec

from prunebench.plugins.chart import Chart
from prunebench.report.frame import payload
from prunebench.report.markup import esc
from prunebench.report.style import Series, config
from prunebench.report.text import script_json
from prunebench.report.vega import bundle
from prunebench.writing import printable, printable_lines

SCRIPTS = ("data.js", "state.js", "print.js", "charts.js", "table.js", "main.js")
LONGEST_QUERY = 60_000  # characters, as elsewhere on the page


@dataclass
class Page:
    """What a page is made of, ready to be written."""

    title: str
    kicker: str = ""
    lead: str = ""
    facts: str = ""  # HTML
    foot: str = ""
    sections: list[tuple[str, str, str]] = field(default_factory=list)  # (id, title in the navigation, HTML)
    series: Sequence[Series] = ()
    panels: Sequence[str] = ()
    parts: Sequence[str] = ()
    charts: list[Any] = field(default_factory=list)
    headline: dict[str, Any] = field(default_factory=lambda: {"length": 0, "columns": []})
    refresh_seconds: int | None = None


def chart_entry(chart: Chart, frame: Any, sql: str, series: Sequence[Series]) -> dict[str, Any]:
    """A chart as the page's script takes it: specification, data by column, the query."""
    from prunebench.report.charts.tradeoff import Tradeoff
    from prunebench.report.draw import is_ratio, panel_spec, score_of, titled

    return {
        "name": chart.name,
        "title": printable(titled(chart, frame)),
        "about": printable(chart.about),
        "empty": printable(chart.empty),
        "wide": chart.is_wide,
        "brush": {"x": chart.brush[0], "y": chart.brush[1]} if isinstance(chart, Tradeoff) else None,
        "sql": printable_lines(sql, LONGEST_QUERY),
        "spec": panel_spec(chart, series, score_of(frame), is_ratio(frame)),
        "frame": payload(frame, chart.columns),
    }


def placed(chart: Chart, frame: Any, sql: str, page: Page, note: str = "") -> list[str]:
    """The place of `chart` in `page`, which takes its data (cleaned); nothing where there are no rows."""
    places = []
    for name, rows in _by_score(chart, frame):
        entry = {**chart_entry(chart, rows, sql, page.series), "name": name}
        page.charts.append(msgspec.Raw(msgspec.json.encode(entry)))
        places.append(figure(chart, note, name, entry["title"]))
    return places


def _by_score(chart: Chart, frame: Any) -> list[tuple[str, Any]]:
    """A chart for each objective: one axis is of one score."""
    if frame.is_empty():
        return []
    if "score_title" not in frame.columns:
        return [(chart.name, frame)]
    groups = frame.group_by("score_title", "score_unit", "larger_is_better", maintain_order=True)
    return [(f"{chart.name}-{place}" if place else chart.name, rows) for place, (_, rows) in enumerate(groups)]


def figure(chart: Chart, note: str, name: str = "", title: str = "") -> str:
    """The place where the page's script draws a chart."""
    name = name or chart.name
    more = f" {note}" if note else ""
    return (
        f'<figure id="chart-{name}" aria-labelledby="chart-{name}-title"><figcaption>'
        f'<h3 id="chart-{name}-title">{esc(title or chart.title)}</h3><p>{esc(chart.about + more)}</p></figcaption>'
        '<div class="panels"></div><div class="tools"></div><div class="drawer"></div></figure>'
    )


def render(page: Page) -> str:
    """The whole file."""
    vega, script = bundle(), own_script()
    data = {
        "series": [_series(one) for one in page.series],
        "panels": list(page.panels),
        "parts": list(page.parts),
        "themes": {theme: config(theme, page.series) for theme in ("light", "dark")},
        "charts": page.charts,
        "headline": page.headline,
        "refreshes": page.refresh_seconds is not None,
    }
    every = page.refresh_seconds
    return string.Template(asset("page.html")).substitute(
        title=esc(page.title, 200), kicker=esc(page.kicker), lead=esc(page.lead), facts=page.facts, foot=esc(page.foot),
        nav="".join(f'<a href="#{name}">{esc(title)}</a>' for name, title, _ in page.sections),
        body="\n".join(html for _, _, html in page.sections),
        script_hashes=f"{_hash(vega)} {_hash(script)}", version=_version(), css=asset("page.css"),
        refresh=f'<meta http-equiv="refresh" content="{every:d}">\n' if every is not None else "",
        data=script_json(data), vega=vega, script=script,
    )  # fmt: skip


def own_script() -> str:
    """The page's own script, in one piece."""
    return '"use strict";\n(() => {\n' + "\n".join(asset(name) for name in SCRIPTS) + "\n})();\n"


def asset(name: str) -> str:
    """A file of the page's furniture."""
    return resources.files("prunebench.report").joinpath(f"assets/{name}").read_text(encoding="utf-8")


def _series(one: Series) -> dict[str, Any]:
    colours = {theme: one.colour(theme) for theme in ("light", "dark")}
    return {"name": one.name, "control": one.control, "path": one.path, "colours": colours}


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _version() -> str:
    from prunebench import __version__

    return __version__
