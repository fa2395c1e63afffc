"""Layers across, settings down, a number as colour: the form of the per-layer charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import altair as alt

from prunebench.plugins.chart import Chart
from prunebench.report.charts.columns import WHICH
from prunebench.report.charts.marks import kept_numbers, room, tip
from prunebench.report.charts.template import filled

ABOVE = "#e07b39"  # reads on light, dark and paper
ROUNDED = 1.0005  # beyond what the tooltip shows as the limit itself
LAYER = {
    "layer": ("layer", "text"),
    "position": ("position", "integer"),
    "place": ("order", "integer"),
    "kept": ("parameters kept", "share"),
    "rank": ("rank", "number"),
    "error": ("relative weight error", "number"),
    "output_error": ("relative output error", "number"),
    "left_alone": ("left alone because", "text"),
}


@dataclass(frozen=True)
class LayerHeat(Chart):
    """A chart of layers; a subclass says which rows it wants and draws one of their numbers."""

    columns = {**WHICH, **LAYER}
    shows: ClassVar[str]  # the query's first line
    having: ClassVar[str]  # the condition on a setting's layer

    @property
    def sql(self) -> str:
        """The query that charts of layers share."""
        return filled("layers", shows=self.shows, having=self.having)


def heat(rows: Any, value: str, title: str, ramp: Any, form: str, most: float | None = None) -> Any:
    """One panel; layers in order of execution, settings by method and size; a dot where one was left alone.

    The colours end at `most`; what lies above it has a colour of its own, so that one layer does not bleach the others.
    """
    x = alt.X(
        "layer",
        type="nominal",
        sort=alt.EncodingSortField("position", op="min"),
        axis=alt.Axis(
            title=None,
            labelAngle=-40,
            labelExpr=kept_numbers("18"),
            labelLimit=130,
            grid=False,
            domain=False,
            ticks=False,
        ),
    )
    y = alt.Y(
        "label",
        type="nominal",
        sort=alt.EncodingSortField("place", op="min"),
        axis=alt.Axis(title=None, labelExpr=kept_numbers("room"), grid=False, domain=False, ticks=False),
    )
    base = alt.Chart(rows).encode(x=x, y=y)
    told = [
        tip("setting", "setting", kind="nominal"),
        tip("seed_count", "seeds"),
        tip("layer", "layer", kind="nominal"),
        tip("kept", "parameters kept", ".1%"),
        tip("rank", "rank", ".1f"),
        tip("error", "weight error", ".3f"),
        tip("output_error", "output error", ".3f"),
        tip("left_alone", "left alone", kind="nominal"),
    ]
    legend = alt.Legend(title=title, format=form, orient="top", gradientLength=140, gradientThickness=8)
    ends: Any = {"domainMin": 0} if most is None else {"domain": [0, most], "clamp": True}
    colour: Any = alt.Color(value, type="quantitative", scale=alt.Scale(range=ramp, **ends), legend=legend)
    if most is not None:
        colour = alt.condition(f"datum.{value} > {most * ROUNDED}", alt.value(ABOVE), colour)
    cells = base.mark_rect(stroke=None).encode(color=colour, tooltip=told)
    alone = base.mark_point(filled=True, size=9, opacity=0.6, color="#7d8590").transform_filter("datum.left_alone")
    layers = [cells, alone.encode(tooltip=told)]
    return alt.layer(*layers).add_params(room()).properties(height=alt.Step(17))
