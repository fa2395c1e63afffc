"""Charts with data: a panel's specification for the page, or a whole chart of all panels that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import altair as alt

from prunebench.errors import PluginError
from prunebench.judging.titles import worded
from prunebench.plugins.chart import Chart
from prunebench.report.charts.marks import HEIGHT, SeriesLook, steered
from prunebench.report.score import CLASSIC, score_of_row
from prunebench.report.seeds import caution
from prunebench.report.style import Series, config, series_of
from prunebench.writing import printable

if TYPE_CHECKING:
    import polars as pl

PANELS_AT_MOST = 24
ROWS_AT_MOST = 20_000
WORDS = ("title", "text", "subtitle", "description")


def panel_spec(
    chart: Chart, series: Sequence[Series], score: tuple[str, str, bool] = CLASSIC, is_ratio: bool = False
) -> dict[str, Any]:
    """The Vega-Lite specification of one panel; the page's script adds the rows and the width."""
    look = SeriesLook(series, on_page=True, score=score, score_is_ratio=is_ratio)
    spec: dict[str, Any] = drawn(chart, alt.NamedData("rows"), look).to_dict(validate=False)
    for unused in ("data", "datasets", "config", "$schema"):
        spec.pop(unused, None)
    ready: dict[str, Any] = showable(spec)
    return ready


def showable(spec: Any, key: str = "") -> Any:
    """`spec` with its titles made printable: Vega puts them into expressions, which a line separator breaks."""
    if key == "data":
        return spec
    if isinstance(spec, dict):
        return {name: showable(value, name) for name, value in spec.items()}
    if isinstance(spec, list):
        return [showable(value, key) for value in spec]
    return printable(spec) if isinstance(spec, str) and key in WORDS else spec


def drawn(chart: Chart, rows: Any, look: SeriesLook) -> Any:
    """One panel of `chart`, steered by the page's choices; raises PluginError where it draws something else."""
    made = chart.draw(rows, look)
    if not isinstance(made, alt.Chart | alt.LayerChart):
        raise PluginError(f"draw must return one Altair chart, single or layered, got {type(made).__name__}")
    if made.height is alt.Undefined:
        made = made.properties(height=HEIGHT)
    return steered(made)


def alone(chart: Chart, frame: pl.DataFrame, width: int = 340, theme: str = "light", font_size: int = 12) -> Any:
    """An Altair chart of every panel of `frame` (cleaned), two in a row, with a legend: for papers and notebooks."""
    series = series_of(methods_of(frame))
    panels = [
        _panel(chart, part, SeriesLook(series, score=score_of(part), score_is_ratio=is_ratio(part)), width, name)
        for name, part in _panels(frame)
    ][:PANELS_AT_MOST]
    if not panels:
        nothing = alt.Chart(alt.InlineData(values=[{}])).mark_text(text=chart.empty).properties(width=width, height=60)
        return nothing.configure(**config(theme, (), font_size))
    columns = 2 if len(panels) > 1 else 1
    whole = alt.concat(*panels, columns=columns, title=_title(chart, frame))
    return whole.resolve_scale(color="shared", shape="shared").configure(**config(theme, series, font_size))


def score_of(rows: pl.DataFrame) -> tuple[str, str, bool]:
    """Title, unit and direction of the rows' score: those of the first."""
    return score_of_row(rows.row(0, named=True)) if rows.height else CLASSIC


def is_ratio(rows: pl.DataFrame) -> bool:
    """Whether the rows' score has a logarithmic axis: its objective compares ratios, and all of it is positive."""
    if rows.is_empty() or "score_compared" not in rows.columns or set(rows["score_compared"]) != {"ratio"}:
        return False
    shown = rows.select(name for name in ("accuracy", "dense_accuracy") if name in rows.columns)
    return all(value is None or value > 0 for value in shown.min().row(0))


def _title(chart: Chart, frame: pl.DataFrame) -> alt.TitleParams:
    """The chart's title, and under it which of its settings rest on one seed."""
    return alt.TitleParams(titled(chart, frame), offset=16, subtitle=about_seeds(frame) or alt.Undefined)


def titled(chart: Chart, frame: pl.DataFrame) -> str:
    """The chart's title in the words of what its rows are scored by."""
    titles = frame["score_title"].unique().to_list() if "score_title" in frame.columns else []
    return worded(chart.title, titles)


def about_seeds(frame: pl.DataFrame) -> str:
    """What to say of settings with one seed among the rows of a chart, otherwise nothing."""
    if not {"seed_count", "panel", "setting"} <= set(frame.columns):
        return ""
    import polars as pl

    fewest = frame.drop_nulls("seed_count").group_by("panel", "setting").agg(pl.col("seed_count").min())
    return caution(fewest["seed_count"].to_list())


def _panel(chart: Chart, rows: pl.DataFrame, look: SeriesLook, width: int, name: str) -> Any:
    made = drawn(chart, alt.InlineData(values=rows.head(ROWS_AT_MOST).to_dicts()), look)
    return made.properties(width=width, title=alt.TitleParams(name, fontSize=12))


def methods_of(frame: pl.DataFrame) -> list[tuple[str, bool]]:
    """The methods of `frame` and whether each is a control, none of them where the rows do not say."""
    if frame.is_empty() or "method" not in frame.columns:
        return []
    if "control" not in frame.columns:
        return [(name, False) for name in frame["method"].unique(maintain_order=True)]
    return [(name, bool(control)) for name, control in frame.select("method", "control").unique().iter_rows()]


def _panels(frame: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    keys = [name for name in ("panel", "part") if name in frame.columns]
    if frame.is_empty() or not keys:
        return [("", frame)] if frame.height else []
    groups = frame.group_by(keys, maintain_order=True)
    return [(" · ".join(str(part) for part in key if part is not None), rows) for key, rows in groups]
