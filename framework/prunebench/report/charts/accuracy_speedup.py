"""Accuracy against the speedup that was measured."""

from __future__ import annotations

from typing import Any

import altair as alt

from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import Look, even, ratio_axis, tip
from prunebench.report.charts.tradeoff import tradeoff

TITLE = "Accuracy against measured speedup"
ABOUT = (
    "Dense latency divided by pruned latency, timed in pairs on the same device at the same batch size. Left of 1× "
    "the pruned network is slower. Sideways bars are 95 % intervals."
)
EMPTY = "No trial here was timed."
COLUMNS = {**WHICH, **ACCURACY, "x": ("measured speedup", "ratio"), "x_low": ("interval from", "ratio"),
           "x_high": ("interval to", "ratio")}  # fmt: skip
BRUSH = ("speedup", "accuracy")


def draw(rows: Any, look: Look) -> Any:
    """One panel and batch size, with a line at 1×."""
    told = [tip("x", "speedup", ".2f"), tip("x_low", "interval from", ".2f"), tip("x_high", "to", ".2f")]
    axis = ratio_axis("x", "Times faster, measured")
    chart = tradeoff(rows, look, axis, told, x_bars=True)
    equal = even().encode(x=alt.X("even", type="quantitative"))
    chart.layer = [equal, *chart.layer]
    return chart
