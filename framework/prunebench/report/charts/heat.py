"""Layers across, settings down, a number as colour: the form of the per-layer charts."""

from __future__ import annotations

from typing import Any

import altair as alt

from prunebench.report.charts.marks import Look, steered, tip


def heat(rows: Any, look: Look, value: str, title: str, ramp: Any, form: str) -> Any:
    """One panel; layers in order of execution, settings by method and size; a dot where one was left alone."""
    x = alt.X(
        "layer",
        type="nominal",
        sort=alt.EncodingSortField("position", op="min"),
        axis=alt.Axis(title=None, labelAngle=-40, labelLimit=90, grid=False, domain=False, ticks=False),
    )
    y = alt.Y(
        "label",
        type="nominal",
        sort=alt.EncodingSortField("place", op="min"),
        axis=alt.Axis(title=None, labelLimit=190, grid=False, domain=False, ticks=False),
    )
    base = alt.Chart(rows).encode(x=x, y=y)
    told = [
        tip("setting", "setting", kind="nominal"),
        tip("layer", "layer", kind="nominal"),
        tip("kept", "parameters kept", ".1%"),
        tip("rank", "rank", ".1f"),
        tip("error", "weight error", ".3f"),
        tip("output_error", "output error", ".3f"),
        tip("left_alone", "left alone", kind="nominal"),
    ]
    legend = alt.Legend(title=title, format=form, orient="top", gradientLength=140, gradientThickness=8)
    colour = alt.Color(value, type="quantitative", scale=alt.Scale(range=ramp, domainMin=0), legend=legend)
    cells = base.mark_rect(stroke=None).encode(color=colour, tooltip=told)
    alone = base.mark_point(filled=True, size=9, opacity=0.6, color="#7d8590").transform_filter("datum.left_alone")
    layers = [cells, alone.encode(tooltip=told)]
    return steered(alt.layer(*layers), look, chosen=False).properties(height=alt.Step(17))
