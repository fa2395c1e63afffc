"""Any query as a chart: the first column across, the second upwards, a third as colour and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from prunebench.errors import QueryError
from prunebench.report.charts import POINTS
from prunebench.report.charts.marks import HEIGHT
from prunebench.report.frame import cleaned, thinned
from prunebench.report.style import Series, config, series_of
from prunebench.writing import printable

if TYPE_CHECKING:
    import polars as pl

OBJECT_NAMES = {
    "constructor",
    "toString",
    "toLocaleString",
    "valueOf",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
}  # a title that is one of these breaks Vega
COLOURS_AT_MOST = 40


def points(frame: pl.DataFrame, width: int = 480, theme: str = "light", font_size: int = 12) -> Any:
    """A scatter of the first columns of `frame`, whatever they are called (c0, c1, c2 in the chart)."""
    if frame.width < 2:
        raise QueryError(f"the chart {POINTS} needs two columns or three; the query returns {frame.width}")
    titles = [_title(name) for name in frame.columns[:3]]
    frame = cleaned(frame[:, :3])
    frame.columns = [f"c{place}" for place in range(frame.width)]
    rows, note = _sampled(frame)
    chart = alt.Chart(alt.InlineData(values=rows.to_dicts())).mark_point(filled=True, size=55, opacity=0.85)
    chart = chart.encode(**_channels(rows, titles))
    title = alt.TitleParams(f"{titles[1]} against {titles[0]}", subtitle=note or alt.Undefined)
    return chart.properties(width=width, height=HEIGHT + 60, title=title).configure(**_config(rows, theme, font_size))


def _title(name: str) -> str:
    return f"{printable(name, 120)}\u00a0" if name in OBJECT_NAMES else printable(name, 120)


def _sampled(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    if frame.is_empty():
        return frame, ["The query returned no rows."]
    rows, note = thinned(frame)
    return rows, [note] if note else []


def _channels(rows: pl.DataFrame, titles: list[str]) -> dict[str, Any]:
    channels: dict[str, Any] = {
        "x": alt.X("c0", type=_kind(rows, "c0"), title=titles[0], scale=_scale(rows, "c0")),
        "y": alt.Y("c1", type=_kind(rows, "c1"), title=titles[1], scale=_scale(rows, "c1")),
        "tooltip": [
            alt.Tooltip(field=f"c{i}", type=_kind(rows, f"c{i}"), title=title) for i, title in enumerate(titles)
        ],
    }
    if len(titles) == 3 and _kind(rows, "c2") == "quantitative":
        channels["color"] = alt.Color("c2", type="quantitative", title=titles[2])
    elif len(titles) == 3:
        scale: Any = {"domain": [one.name for one in _series(rows)]}
        legend = alt.Legend(title=titles[2], symbolLimit=COLOURS_AT_MOST)
        channels["color"] = alt.Color("c2", type="nominal", scale=alt.Scale(**scale, range="category"), legend=legend)
        channels["shape"] = alt.Shape("c2", type="nominal", scale=alt.Scale(**scale, range="symbol"), legend=legend)
    return channels


def _config(rows: pl.DataFrame, theme: str, font_size: int) -> dict[str, Any]:
    named = _series(rows) if "c2" in rows.columns and _kind(rows, "c2") == "nominal" else []
    return config(theme, named, font_size)


def _series(rows: pl.DataFrame) -> list[Series]:
    return series_of((str(word), False) for word in rows["c2"].drop_nulls().unique().to_list())


def _kind(rows: pl.DataFrame, name: str) -> Any:
    return "quantitative" if rows[name].dtype.is_numeric() else "nominal"


def _scale(rows: pl.DataFrame, name: str) -> Any:
    return alt.Scale(zero=False, nice=False, padding=10) if _kind(rows, name) == "quantitative" else alt.Undefined
