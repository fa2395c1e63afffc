"""`check_chart`."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from prunebench.errors import PruneBenchError
from prunebench.plugins.chart import COLUMN_KINDS, Chart
from prunebench.report.export import chart_rows, picture, specification
from prunebench.report.guard import guarded
from prunebench.report.page import chart_entry
from prunebench.report.plugin_charts import TAKEN
from prunebench.report.scope import EVERYTHING, Queryable, Scope
from prunebench.store import open_results
from prunebench.testing.findings import Finding, class_findings, documentation_findings
from prunebench.testing.sample import sample_database

LEAST_ABOUT = 40  # characters


def check_chart(cls: type[Chart]) -> list[Finding]:
    """Findings about a chart: its description, its query with and without rows, and whether its drawing has marks."""
    findings = class_findings(cls, "chart")
    if findings:
        return findings
    findings += documentation_findings(cls)
    if names := [item.name for item in dataclasses.fields(cls)]:
        return [*findings, Finding("class", f"has the fields {', '.join(names)}", "a chart takes no setting")]
    chart = cls()
    return findings + _words(chart) + _tried(chart)


def _words(chart: Chart) -> list[Finding]:
    findings = []
    if not isinstance(getattr(chart, "title", None), str) or not chart.title.strip():
        findings.append(Finding("title", "is empty", 'say what is drawn: title = "Accuracy against energy"'))
    if len(chart.about) < LEAST_ABOUT:
        fix = "say in the docstring what is drawn, including for readers who cannot see it"
        findings.append(Finding("documentation", f"{len(chart.about)} characters say what the chart shows", fix))
    if chart.name in TAKEN and not type(chart).__module__.startswith("prunebench."):
        findings.append(Finding("name", f"prunebench has a chart {chart.name}", "choose another name"))
    for column, (_, kind) in chart.columns.items():
        if kind not in COLUMN_KINDS:
            findings.append(Finding("columns", f"{column} is of kind {kind!r}", f"use {', '.join(COLUMN_KINDS)}"))
    return findings


def _tried(chart: Chart) -> list[Finding]:
    """The query and the drawing, over a made-up run of dense and two methods."""
    with tempfile.TemporaryDirectory() as folder, open_results(sample_database(Path(folder))) as results:
        for scope in (Scope(), Scope("sample-1"), Scope(query="select trial_id from trials where false")):
            ask = partial(_asked, chart, results, scope)
            if fault := _fault(chart, "query", ask, f"begin with `with {EVERYTHING}`; try it in bench query"):
                return [fault]
        rows = results.query(chart.sql)
        if rows.is_empty():
            return []
        if "panel" not in rows.columns:
            return [
                Finding("query", "returns no column panel", "return dataset_label || ' · ' || model_label as panel")
            ]
        ready = _fault(chart, "columns", lambda: chart_rows(chart, results, Scope()), "return every column it names")
        return [ready] if ready else _drawn(chart, chart_rows(chart, results, Scope()))


def _asked(chart: Chart, results: Queryable, scope: Scope) -> Any:
    return results.query(scope.limit(chart.sql))


def _drawn(chart: Chart, frame: Any) -> list[Finding]:
    fix = "return alt.Chart(rows) or a layer of such, and let Vega-Lite do the arithmetic"
    for place in (lambda: chart_entry(chart, frame, "", ()), lambda: specification(chart, frame)):
        if fault := _fault(chart, "draw", place, fix):
            return [fault]
    try:
        svg = picture(specification(chart, frame), "svg").decode()
    except PruneBenchError as error:
        return [Finding("draw", str(error), "look at it: bench chart NAME --plugin FILE -o chart.svg")]
    drawn = re.search(r'class="mark-(?!group)[a-z]+ role-mark[^"]*"[^>]*>\s*<(path|line|text|rect|image)', svg)
    return [] if drawn else [Finding("draw", "no mark is drawn", "check the names of the columns in `encode`")]


def _fault(chart: Chart, check: str, make: Callable[[], Any], fix: str) -> Finding | None:
    try:
        guarded(chart.name, make)
    except PruneBenchError as error:
        return Finding(check, str(error), fix)
    return None
