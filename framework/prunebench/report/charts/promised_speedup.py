"""Measured against theoretical speedup: how much of the promise is real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.columns import SPEEDUP, WHICH
from prunebench.report.charts.marks import even


@dataclass(frozen=True)
class PromisedSpeedup(Chart):
    """Measured speedup over theoretical speedup. On the slanted line a network is as fast as its arithmetic says; on
    the level line at 1× nothing was gained; below it the pruned network is slower.
    """

    name = "promised_speedup"
    title = "How much of the promised speed is real"
    empty = "No trial here has both a measured and a theoretical speedup."
    columns = {**WHICH, **SPEEDUP, "theoretical_speedup": ("theoretical speedup", "ratio"),
               "realised": ("share of the promise kept", "share")}  # fmt: skip

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and batch size."""
        x = alt.X("theoretical_speedup", **look.axis("ratio", "Times fewer multiply-accumulates"))
        y = alt.Y("speedup", **look.axis("ratio", "Times faster, measured"))
        base = alt.Chart(rows).encode(x=x, y=y)
        equal = even().encode(y=alt.Y("even", type="quantitative"))
        promise = base.mark_line(strokeDash=[4, 3], opacity=0.6, color="#7d8590").encode(
            y=alt.Y("theoretical_speedup", type="quantitative")
        )
        bars = base.mark_rule(strokeWidth=1.1).encode(
            y=alt.Y("speedup_low", type="quantitative"),
            y2="speedup_high",
            color=look.colour(),
            opacity=look.faded(0.55),
        )
        told = look.tips(
            ("speedup", "measured", ".2f"),
            ("theoretical_speedup", "theoretical", ".2f"),
            ("realised", "of the promise", ".0%"),
        )
        points = base.mark_point(filled=True, size=62).encode(
            color=look.colour(), shape=look.shape(), opacity=look.faded(0.95), tooltip=told
        )
        return alt.layer(equal, promise, bars, points)
