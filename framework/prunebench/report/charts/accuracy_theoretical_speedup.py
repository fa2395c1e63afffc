"""Accuracy against how many fewer multiplications the network needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Look
from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import tip
from prunebench.report.charts.tradeoff import Tradeoff, tradeoff


@dataclass(frozen=True)
class AccuracyTheoreticalSpeedup(Tradeoff):
    """Multiply-accumulates of the dense network divided by those of the pruned one. This is what arithmetic promises;
    what a clock says is in the chart of measured speedup.
    """

    name = "accuracy_theoretical_speedup"
    title = "Accuracy against theoretical speedup"
    empty = "No trial here has both a score and a count of multiply-accumulates."
    columns = {**WHICH, **ACCURACY, "x": ("theoretical speedup", "ratio")}
    shows = "Accuracy against how many times fewer multiply-accumulates there are."
    column = "theoretical_speedup"
    brush = ("theoretical_speedup", "accuracy")

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel."""
        axis = alt.X("x", **look.axis("ratio", "Times fewer multiply-accumulates"))
        return tradeoff(rows, look, axis, [tip("x", "theoretical speedup", ".2f")])
