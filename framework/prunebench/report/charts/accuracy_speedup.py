"""Accuracy against the speedup that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Look
from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import even, tip
from prunebench.report.charts.tradeoff import Tradeoff, tradeoff


@dataclass(frozen=True)
class AccuracySpeedup(Tradeoff):
    """Dense latency divided by pruned latency, timed in pairs on the same device at the same batch size. Left of 1×
    the pruned network is slower. Sideways bars are 95 % intervals.
    """

    name = "accuracy_speedup"
    title = "Accuracy against measured speedup"
    empty = "No trial here was timed."
    columns = {**WHICH, **ACCURACY, "x": ("measured speedup", "ratio"), "x_low": ("interval from", "ratio"),
               "x_high": ("interval to", "ratio")}  # fmt: skip
    brush = ("speedup", "accuracy")

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and batch size, with a line at 1×."""
        told = [tip("x", "speedup", ".2f"), tip("x_low", "interval from", ".2f"), tip("x_high", "to", ".2f")]
        axis = alt.X("x", **look.axis("ratio", "Times faster, measured"))
        chart = tradeoff(rows, look, axis, told, x_bars=True)
        equal = even().encode(x=alt.X("even", type="quantitative"))
        chart.layer = [equal, *chart.layer]
        return chart
