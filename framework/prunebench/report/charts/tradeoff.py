"""Accuracy against a cost: the form that four charts share.

Points are settings, averaged over seeds, with error bars; a line joins the settings of a method that nothing of the
same method beats on both axes; a broad pale line joins those that nothing at all beats; dashes mark the dense network,
dots what is scored without any network (chance, the most frequent class, a constant).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import altair as alt

from prunebench.judging.titles import axis_title
from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.marks import brush, setting_tips, tip, zoom
from prunebench.report.charts.template import filled
from prunebench.report.score import CLASSIC

STRONGER, WEAKER = FLOORS = ("score_floor", "weaker_floor")
# A floor further from the points than they are from one another would squeeze them: it is in the data, not drawn.
NEAR = "isValid(datum.{0}) && datum.{0} > 2 * datum.least - datum.most && datum.{0} < 2 * datum.most - datum.least"
# The weaker floor is left out where its name would be printed over the stronger one's.
APART = f"!isValid(datum.{STRONGER}) || abs(datum.{WEAKER} - datum.{STRONGER}) > 0.05 * (datum.most - datum.least)"
# A logarithmic axis has no place for mean - deviation below zero: such a bar is as long downwards as upwards.
LOW = "datum.accuracy_low > 0 ? datum.accuracy_low : datum.accuracy * datum.accuracy / datum.accuracy_high"
FRONT = alt.condition("chosen.all", alt.value(0.75), alt.value(0.2))


@dataclass(frozen=True)
class Tradeoff(Chart):
    """A chart whose rows have `x`, `accuracy` and their `_low` and `_high`, where a rectangle selects settings."""

    shows: ClassVar[str] = ""  # the query's first line
    column: ClassVar[str] = ""  # of the view `trials`, the cost on the x axis
    direction: ClassVar[str] = "desc"  # where `column` is better: up ("desc") or down ("asc")
    brush: ClassVar[tuple[str, str]]  # the headline's columns behind x and y

    @property
    def sql(self) -> str:
        """The query that the charts of one column share; without a column, the chart's own. Fragments are filled in."""
        if not self.column:
            return filled(self.name)
        return filled("tradeoff", shows=self.shows, column=self.column, direction=self.direction)


def tradeoff(rows: Any, look: Look, x: alt.X, tips: list[alt.Tooltip], x_bars: bool = False) -> Any:
    """The layered chart of rows with `x`, `accuracy` and their `_low` and `_high`."""
    base = alt.Chart(rows).encode(x=x, y=alt.Y("accuracy", **look.axis(*scored(look))))
    layers = [
        best_of_all(base),
        dense_line(rows),
        *floor_lines(rows),
        *error_bars(base, look, x_bars),
        own_front(base, look),
    ]
    points = marks(base, look, tips)
    if look.on_page:
        points = points.add_params(brush(), zoom())
    return alt.layer(*layers, points)


def scored(look: Look) -> tuple[str, str]:
    """Kind and title of the axis of scores."""
    title, _, larger = getattr(look, "score", CLASSIC)
    kind = "positive" if getattr(look, "score_is_ratio", False) else getattr(look, "score_kind", "share")
    how = ", logarithmic" if kind == "positive" else ""
    return kind, axis_title(title) + (how if larger else f" (smaller is better{how})")


def best_of_all(base: Any) -> Any:
    """The front of all methods together, behind everything."""
    line = base.mark_line(strokeWidth=9, opacity=0.16, color="#7d8590", strokeCap="round", strokeJoin="round")
    return line.transform_filter("datum.is_best").encode(order=alt.Order("x", type="quantitative"))


def own_front(base: Any, look: Look) -> Any:
    """Each method's own front."""
    line = base.mark_line(strokeWidth=1.6).transform_filter("datum.is_front")
    return line.encode(color=look.colour(), order=alt.Order("x", type="quantitative"), opacity=FRONT)


def dense_line(rows: Any) -> Any:
    """The accuracy of the dense network, across the chart."""
    rule = alt.Chart(rows).mark_rule(strokeDash=[4, 3], opacity=0.7)
    return rule.encode(y=alt.Y("dense_accuracy", type="quantitative", aggregate="mean"))


def floor_lines(rows: Any) -> list[Any]:
    """What is scored without a network: dotted lines with their names, where they are near the points."""
    return [part for floor in FLOORS for part in _floor_line(rows, floor)]


def _floor_line(rows: Any, floor: str) -> list[Any]:
    name = f"{floor}_name"
    spread = alt.Chart(rows).transform_joinaggregate(least="min(accuracy)", most="max(accuracy)")
    near = spread.transform_filter(NEAR.format(floor))
    if floor == WEAKER:
        near = near.transform_filter(APART)
    one = near.transform_aggregate(groupby=[name], at=f"mean({floor})").encode(y=alt.Y("at", type="quantitative"))
    line = one.mark_rule(strokeDash=[1, 3], opacity=0.8, color="#7d8590")
    text = one.transform_calculate(told=f"'without a network: ' + datum.{name}").mark_text(
        align="left", baseline="bottom", dx=3, dy=-1, fontSize=10, color="#7d8590"
    )
    return [line, text.encode(x=alt.value(0), text=alt.Text("told", type="nominal"))]


def error_bars(base: Any, look: Look, x_bars: bool) -> list[Any]:
    """Standard deviation over seeds upwards; sideways, the interval of a measured speedup."""
    colour = look.colour()
    low = LOW if getattr(look, "score_is_ratio", False) else "datum.accuracy_low"
    up = (
        base.transform_calculate(drawn_low=low)
        .mark_rule(strokeWidth=1.1)
        .encode(y=alt.Y("drawn_low", type="quantitative"), y2="accuracy_high", color=colour, opacity=look.faded(0.55))
    )
    if not x_bars:
        return [up]
    over = base.mark_rule(strokeWidth=1.1).encode(x=alt.X("x_low", type="quantitative"), x2="x_high", color=colour,
                                                  opacity=look.faded(0.55))  # fmt: skip
    return [up, over]


def marks(base: Any, look: Look, tips: list[alt.Tooltip]) -> Any:
    """One mark a setting."""
    title, form = getattr(look, "score", CLASSIC)[0], getattr(look, "score_format", ".2%")
    points = base.mark_point(filled=True, size=62, strokeWidth=1.6)
    told = [*setting_tips(), tip("accuracy", title, form), tip("dense_accuracy", "dense", form),
            tip("score_floor", "without a network", form), *tips]  # fmt: skip
    return points.encode(color=look.colour(), shape=look.shape(), opacity=look.faded(0.95), tooltip=told)
