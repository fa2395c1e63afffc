"""What charts share: how methods look, what a pointer shows, how the page's choices reach the marks.

Every chart is drawn over rows that have `panel` (data set and model) and mostly `method`, `setting` and `control`.
On a page the parameters `hidden` and `chosen` are set by its script; alone, they let everything through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Look
from prunebench.report.score import CLASSIC, is_share
from prunebench.report.style import Series

HEIGHT = 270
DRAG = "[pointerdown[!event.shiftKey], window:pointerup] > window:pointermove!"
PAN = "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!"
TIMES = "format(datum.value, '~r') + '×'"
WHEEL = "wheel![event.ctrlKey || event.metaKey || event.shiftKey]"
VISIBLE = "!hidden['m:' + datum.method]"
CHOSEN = "chosen.all || chosen['k:' + datum.panel + '|' + datum.setting] || datum.point_count > 1"
NAMES = "[A-Za-z_]"  # what a long label can lose; its numbers tell it from its neighbours


@dataclass(frozen=True)
class SeriesLook:
    """Who is drawn and how: the methods in order, and whether the chart stands on a page that steers it."""

    series: Sequence[Series] = ()
    on_page: bool = False
    score: tuple[str, str, bool] = CLASSIC  # title, unit and direction of what is drawn as `accuracy`
    score_is_ratio: bool = False  # whether equal ratios of it are equally far apart, as of perplexities

    @property
    def score_kind(self) -> str:
        """The kind of its axis."""
        return "share" if is_share(self.score[1]) else "number"

    @property
    def score_format(self) -> str:
        """Its d3 format in a tooltip."""
        return ".2%" if is_share(self.score[1]) else ".4~g"

    @property
    def names(self) -> list[str]:
        """The methods, in the order of the colours."""
        return [one.name for one in self.series]

    def colour(self, legend: bool = True) -> alt.Color:
        """Colour by method; the theme's range follows the order of the domain."""
        shown = alt.Legend(title=None, symbolLimit=40) if legend and not self.on_page else None
        return alt.Color("method", type="nominal", scale=alt.Scale(domain=self.names, range="category"), legend=shown)

    def shape(self) -> alt.Shape:
        """Shape by method, so that the marks differ without colour."""
        legend = None if self.on_page else alt.Legend(title=None, symbolLimit=40)
        return alt.Shape("method", type="nominal", scale=alt.Scale(domain=self.names, range="symbol"), legend=legend)

    def faded(self, strong: float, weak: float = 0.1) -> Any:
        """An opacity that drops for settings outside the brush."""
        return alt.condition(CHOSEN, alt.value(strong), alt.value(weak))

    def axis(self, kind: str, title: str) -> Mapping[str, Any]:
        """What `alt.X` or `alt.Y` takes beside its field; an axis of ratios is labelled 2×, 4×, 8×; one of
        positive numbers is logarithmic, too.

        Numbers are written as "~r": "~g" would label 80 between 60 and 100 as 8e+1.
        """
        shown: Any = {"title": title, "tickCount": 6}
        if kind == "ratio":
            scale, shown["labelExpr"] = alt.Scale(type="log", base=2, nice=False, padding=12), TIMES
        elif kind == "positive":
            scale = alt.Scale(type="log", nice=False, padding=10)
            shown |= {"format": "~r", "tickCount": 20, "labelOverlap": "greedy"}  # of 6, none below 10 has a label
        else:
            scale, shown["format"] = alt.Scale(zero=False, nice=False, padding=10), "%" if kind == "share" else "~r"
        return {"type": "quantitative", "title": title, "scale": scale, "axis": alt.Axis(**shown)}

    def tips(self, *columns: tuple[str, str, str]) -> list[alt.Tooltip]:
        """Which setting a mark stands for, then `columns`."""
        return [*setting_tips(), *(tip(field, title, form) for field, title, form in columns)]


def speedups_beside(rows: Any, x: alt.X, look: Look) -> Any:
    """A column for each value of `x`, its settings beside one another, with measured speedup upwards."""
    y = alt.Y("speedup", **look.axis("ratio", "Times faster, measured"))
    return alt.Chart(rows).encode(x=x, y=y, xOffset=alt.XOffset("setting", type="nominal"))


def with_intervals(base: Any, look: Look, tips: Sequence[Any]) -> list[Any]:
    """Bars and marks of a chart by `speedups_beside`."""
    bars = base.mark_rule(strokeWidth=1.1).encode(
        y=alt.Y("speedup_low", type="quantitative"), y2="speedup_high", color=look.colour(), opacity=look.faded(0.6)
    )
    points = base.mark_point(filled=True, size=62).encode(
        color=look.colour(), shape=look.shape(), opacity=look.faded(0.95), tooltip=tips
    )
    return [bars, points]


def kept_numbers(room: str) -> str:
    """An axis' `labelExpr`: a label of more than `room` characters has its names cut short, never its numbers.

    `data_aware_low_rank keep=0.0625` becomes `data_awa… keep=0.0625`, `dat… kee…=0.0625`, `d… k…=0.0625`.
    """
    said = "datum.label"
    for kept in (1, 3, 5, 8):
        short = f"replace(datum.label, regexp('({NAMES}{{{kept}}}){NAMES}{NAMES}+', 'g'), '$1…')"
        said = f"(length({short}) <= {room} ? {short} : {said})" if kept > 1 else short
    return f"length(datum.label) <= {room} ? datum.label : {said}"


def room(characters: int = 90) -> alt.Parameter:
    """How many characters a row's name can have: the page sets it by its width."""
    return alt.param(name="room", value=characters)


def steered(chart: Any) -> Any:
    """`chart` with the page's choices: methods hidden by the legend, settings chosen by a brush elsewhere."""
    hidden, chosen = alt.param(name="hidden", value={}), alt.param(name="chosen", value={"all": True})
    return chart.add_params(hidden, chosen).transform_filter(VISIBLE)


def brush() -> alt.Parameter:
    """A rectangle over two fields, drawn by dragging; double-click clears it."""
    mark = alt.BrushConfig(fillOpacity=0.08, strokeOpacity=0.6)
    return alt.selection_interval(name="brush", encodings=["x", "y"], on=DRAG, mark=mark, zoom=False)


def zoom() -> alt.Parameter:
    """Pan with shift and drag, zoom with ctrl and wheel; both bound to the axes."""
    return alt.selection_interval(name="zoom", bind="scales", on=PAN, translate=PAN, zoom=WHEEL)


def tip(field: str, title: str, form: str | None = None, kind: str = "quantitative") -> alt.Tooltip:
    """One line of a tooltip."""
    shown = form or alt.Undefined
    return alt.Tooltip(field=field, type=kind, title=title, format=shown)  # type: ignore[arg-type]


def setting_tips() -> list[alt.Tooltip]:
    """Which setting a mark stands for."""
    return [tip("setting", "setting", kind="nominal"), tip("panel", "on", kind="nominal"), tip("seed_count", "seeds")]


def even() -> Any:
    """A rule where the two networks are equally fast, to be given its axis: one mark, from data of its own."""
    return alt.Chart(alt.sequence(1, 2, as_="even")).mark_rule(opacity=0.5)
