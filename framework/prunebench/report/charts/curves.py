"""Validation accuracy epoch by epoch."""

from __future__ import annotations

from typing import Any

import altair as alt

from prunebench.report.charts.columns import WHICH
from prunebench.report.charts.marks import HEIGHT, Look, accuracy_axis, steered, tip

TITLE = "Training and fine-tuning"
ABOUT = "Validation accuracy by epoch; the band is one standard deviation over seeds and settings of a method."
EMPTY = "No trial here was trained or fine-tuned, so that there is no curve."
COLUMNS = {
    **WHICH,
    "epoch": ("epoch", "integer"),
    "accuracy": ("validation accuracy, mean", "share"),
    "accuracy_low": ("mean − std", "share"),
    "accuracy_high": ("mean + std", "share"),
    "loss": ("validation loss, mean", "number"),
    "curve_count": ("curves", "integer"),
}


def draw(rows: Any, look: Look) -> alt.LayerChart:
    """One panel and phase."""
    x = alt.X("epoch", type="quantitative", axis=alt.Axis(title="Epoch", tickMinStep=1, tickCount=6, grid=False))
    base = alt.Chart(rows).encode(x=x, color=look.colour())
    band = base.mark_area(opacity=0.16, line=False).encode(
        y=alt.Y("accuracy_low", type="quantitative", scale=alt.Scale(zero=False)), y2="accuracy_high"
    )
    told = [tip("method", "method", kind="nominal"), tip("epoch", "epoch"), tip("accuracy", "accuracy", ".2%"),
            tip("loss", "loss", ".4f"), tip("curve_count", "curves")]  # fmt: skip
    line = base.mark_line(strokeWidth=1.8).encode(y=accuracy_axis(title="Validation accuracy"))
    points = base.mark_point(filled=True, size=32).encode(
        y=accuracy_axis(title="Validation accuracy"), shape=look.shape(), tooltip=told, opacity=alt.value(1)
    )
    return steered(alt.layer(band, line, points), look, chosen=False).properties(height=HEIGHT)
