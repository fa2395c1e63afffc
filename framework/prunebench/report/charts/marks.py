"""What charts share: how methods look, what a pointer shows, how the page's choices reach the marks.

Every chart is drawn over rows that have `panel` (data set and model) and mostly `method`, `setting` and `control`.
On a page the parameters `hidden` and `chosen` are set by its script; alone, they let everything through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.report.style import Series

HEIGHT = 270
DRAG = "[pointerdown[!event.shiftKey], window:pointerup] > window:pointermove!"
PAN = "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!"
TIMES = "format(datum.value, '~r') + '×'"
WHEEL = "wheel![event.ctrlKey || event.metaKey || event.shiftKey]"
VISIBLE = "!hidden['m:' + datum.method]"
CHOSEN = "chosen.all || chosen['k:' + datum.panel + '|' + datum.setting] || datum.point_count > 1"


@dataclass(frozen=True)
class Look:
    """Who is drawn and how: the methods in order, and whether the chart stands on a page that steers it."""

    series: Sequence[Series] = ()
    on_page: bool = False

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


def steered(chart: Any, look: Look, chosen: bool = True) -> Any:
    """`chart` with the page's choices: methods hidden by the legend, settings chosen by a brush elsewhere."""
    params = [alt.param(name="hidden", value={})]
    if chosen:
        params.append(alt.param(name="chosen", value={"all": True}))
    return chart.add_params(*params).transform_filter(VISIBLE)


def faded(strong: float, weak: float = 0.1) -> Any:
    """An opacity that drops for settings outside the brush."""
    return alt.condition(CHOSEN, alt.value(strong), alt.value(weak))


def brush() -> alt.Parameter:
    """A rectangle over two fields, drawn by dragging; double-click clears it."""
    mark = alt.BrushConfig(fillOpacity=0.08, strokeOpacity=0.6)
    return alt.selection_interval(name="brush", encodings=["x", "y"], on=DRAG, mark=mark, zoom=False)


def zoom() -> alt.Parameter:
    """Pan with shift and drag, zoom with ctrl and wheel; both bound to the axes."""
    return alt.selection_interval(name="zoom", bind="scales", on=PAN, translate=PAN, zoom=WHEEL)


def tip(field: str, title: str, form: str | None = None, kind: str = "quantitative") -> alt.Tooltip:
    """One line of a tooltip."""
    shown = alt.Undefined if form is None else form
    return alt.Tooltip(field=field, type=kind, title=title, format=shown)  # type: ignore[arg-type]


def setting_tips() -> list[alt.Tooltip]:
    """Which setting a mark stands for."""
    return [tip("setting", "setting", kind="nominal"), tip("panel", "on", kind="nominal"), tip("seed_count", "seeds")]


def ratio_axis(field: str, title: str, **axis: Any) -> alt.X:
    """A logarithmic axis of ratios, labelled 2×, 4×, 8×."""
    shown = alt.Axis(title=title, labelExpr=TIMES, tickCount=6, **axis)
    return alt.X(
        field, type="quantitative", title=title, scale=alt.Scale(type="log", base=2, nice=False, padding=12), axis=shown
    )


def ratio_axis_up(field: str, title: str) -> alt.Y:
    """The same, upwards."""
    shown = alt.Axis(title=title, labelExpr=TIMES, tickCount=6)
    return alt.Y(
        field, type="quantitative", title=title, scale=alt.Scale(type="log", base=2, nice=False, padding=12), axis=shown
    )


def accuracy_axis(field: str = "accuracy", title: str = "Top-1 accuracy") -> alt.Y:
    """Accuracy in percent; the axis need not start at zero."""
    return alt.Y(field, type="quantitative", title=title, scale=alt.Scale(zero=False, nice=False, padding=10),
                 axis=alt.Axis(title=title, format=".0%", tickCount=6))  # fmt: skip


def even() -> Any:
    """A rule where the two networks are equally fast, to be given its axis: one mark, from data of its own."""
    return alt.Chart(alt.sequence(1, 2, as_="even")).mark_rule(opacity=0.5)
