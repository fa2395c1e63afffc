"""One chart alone: SVG, PNG, PDF, an HTML page or its Vega-Lite JSON, print-ready."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from prunebench.errors import PruneBenchError, QueryError
from prunebench.plugins.chart import Chart
from prunebench.report.frame import cleaned
from prunebench.report.labels import labelled, short_labels
from prunebench.report.scope import Queryable, Scope

if TYPE_CHECKING:
    import polars as pl

FORMS = ("svg", "png", "pdf", "html", "json")
OPTIONAL: Mapping[str, Any] = {
    "panel": "", "part": None, "control": False, "seed_count": None, "point_count": 1, "dense_accuracy": None,
    "is_front": False, "is_best": False, "finetune_seconds": None, "curve_count": None, "block_count": None,
    "output_error": None, "left_alone": None, "loss": None, "realised": None, "rank": None, "error": None, "kept": None,
    "label": None, "score_title": "top-1 accuracy",
    "score_unit": "fraction", "larger_is_better": True, "score_compared": "difference",
    "place": 0, "position": 0, "is_at_floor": False,
    "score_floor": None, "score_floor_name": None, "weaker_floor": None, "weaker_floor_name": None,
}  # fmt: skip
SECONDS = 120


@dataclass(frozen=True)
class Sizes:
    """How large a picture is: `width` of a panel and `font_size` in points, `scale` for PNG."""

    width: int = 340
    font_size: int = 12
    scale: float = 2.0
    theme: Literal["light", "dark"] = "light"


def chart_rows(chart: Chart, results: Queryable, scope: Scope) -> pl.DataFrame:
    """The rows of `chart` over `scope`, ready to draw."""
    return ready(chart, results.query(scope.limit(chart.sql)))


def ready(chart: Chart, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` cleaned, with the columns of `chart`; raises QueryError naming those that are needed and not there."""
    frame = _completed(chart, cleaned(frame))
    if "label" in frame.columns or not {"method", "setting"} <= set(frame.columns):
        return frame
    return labelled(frame, short_labels(frame.select("method", "setting").drop_nulls().iter_rows()))


def specification(chart: Chart, frame: pl.DataFrame, sizes: Sizes = Sizes()) -> dict[str, Any]:
    """The Vega-Lite specification of `chart` over `frame` (ready), with its data."""
    from prunebench.report.draw import alone, showable

    drawn = alone(chart, frame, sizes.width, sizes.theme, sizes.font_size)
    spec: dict[str, Any] = showable(drawn.to_dict(validate=False))
    return spec


def picture(spec: dict[str, Any], form: str, scale: float = 2.0) -> bytes:
    """`spec` as SVG, PNG or PDF; raises PruneBenchError where the renderer gives up."""
    command = [sys.executable, "-P", "-m", "prunebench.report.render"]
    request = msgspec.json.encode({"spec": spec, "form": form, "scale": scale})
    try:
        done = subprocess.run(command, input=request, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise PruneBenchError(f"the chart was not drawn within {SECONDS} s; draw fewer rows with --sql") from None
    if done.returncode or not done.stdout:
        raise PruneBenchError(f"the chart could not be drawn: {_cause(done.stderr, done.returncode)}")
    return done.stdout


def _cause(errors: bytes, code: int) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    named = [line for line in lines if "Error" in line and not line.startswith(" ")]
    return named[-1][:300] if named else f"the renderer ended with {code}"


def page_of(chart: Chart, frame: pl.DataFrame, sql: str) -> str:
    """`chart` as a page of its own."""
    from prunebench.report.draw import methods_of
    from prunebench.report.markup import section
    from prunebench.report.page import Page, chart_entry, figure, render
    from prunebench.report.style import series_of

    series = series_of(methods_of(frame))
    page = Page(chart.title, "prunebench", series=series, panels=frame["panel"].unique(maintain_order=True).to_list())
    page.charts = [chart_entry(chart, frame, sql, series)]
    page.sections = [("charts", "Chart", section("charts", "Chart", f'<div class="charts">{figure(chart, "")}</div>'))]
    return render(page)


def write(path: Path, chart: Chart, frame: pl.DataFrame, sql: str, sizes: Sizes = Sizes()) -> Path:
    """Write `chart` to `path`, in the form that its ending names."""
    if form_of(path) == "html":
        from prunebench.report import replace_bytes

        return replace_bytes(path, page_of(chart, frame, sql).encode())
    return write_spec(path, specification(chart, frame, sizes), sizes)


def write_spec(path: Path, spec: dict[str, Any], sizes: Sizes = Sizes()) -> Path:
    """Write a specification to `path` as a picture or as JSON."""
    from prunebench.report import replace_bytes

    form = form_of(path)
    if form == "html":
        raise PruneBenchError(f"{path}: this chart is drawn as {', '.join(f for f in FORMS if f != 'html')}")
    if form == "json":
        return replace_bytes(path, msgspec.json.format(msgspec.json.encode(spec), indent=1))
    return replace_bytes(path, picture(spec, form, sizes.scale))


def form_of(path: Path) -> str:
    """What the file's name ends in; raises PruneBenchError naming the endings there are."""
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise PruneBenchError(
            f"{path}: no such form {path.suffix!r}; end the name in {', '.join('.' + f for f in FORMS)}"
        )
    return form


def _completed(chart: Chart, frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    missing = [name for name in chart.columns if name not in frame.columns]
    needed = [name for name in missing if name not in OPTIONAL and not name.endswith(("_low", "_high"))]
    if needed and not ("setting" in needed and "method" in frame.columns and needed == ["setting"]):
        given = ", ".join(frame.columns) or "nothing"
        raise QueryError(f"chart {chart.name} needs {', '.join(needed)} as well; the query returns {given}")
    if "setting" in missing and "method" in frame.columns:
        frame = frame.with_columns(setting=pl.col("method"))
    filled = [pl.lit(OPTIONAL[name]).alias(name) for name in missing if OPTIONAL.get(name) is not None]
    return frame.with_columns(filled)
