"""Measured against theoretical speedup: how much of the promise is real."""

from __future__ import annotations

from typing import Any

import altair as alt

from prunebench.report.charts.columns import SPEEDUP, WHICH
from prunebench.report.charts.marks import (
    HEIGHT,
    Look,
    even,
    faded,
    ratio_axis,
    ratio_axis_up,
    setting_tips,
    steered,
    tip,
)

TITLE = "How much of the promised speed is real"
ABOUT = (
    "Measured speedup over theoretical speedup. On the slanted line a network is as fast as its arithmetic says; on "
    "the level line at 1× nothing was gained; below it the pruned network is slower."
)
EMPTY = "No trial here has both a measured and a theoretical speedup."
COLUMNS = {**WHICH, **SPEEDUP, "theoretical_speedup": ("theoretical speedup", "ratio"),
           "realised": ("share of the promise kept", "share")}  # fmt: skip


def draw(rows: Any, look: Look) -> Any:
    """One panel and batch size."""
    x = ratio_axis("theoretical_speedup", "Times fewer multiply-accumulates")
    y = ratio_axis_up("speedup", "Times faster, measured")
    base = alt.Chart(rows).encode(x=x, y=y)
    equal = even().encode(y=alt.Y("even", type="quantitative"))
    promise = base.mark_line(strokeDash=[4, 3], opacity=0.6, color="#7d8590").encode(
        y=alt.Y("theoretical_speedup", type="quantitative")
    )
    bars = base.mark_rule(strokeWidth=1.1).encode(
        y=alt.Y("speedup_low", type="quantitative"), y2="speedup_high", color=look.colour(), opacity=faded(0.55)
    )
    told = [*setting_tips(), tip("speedup", "measured", ".2f"), tip("theoretical_speedup", "theoretical", ".2f"),
            tip("realised", "of the promise", ".0%")]  # fmt: skip
    points = base.mark_point(filled=True, size=62).encode(
        color=look.colour(), shape=look.shape(), opacity=faded(0.95), tooltip=told
    )
    return steered(alt.layer(equal, promise, bars, points), look).properties(height=HEIGHT)
