"""Accuracy against how many fewer multiplications the network needs."""

from __future__ import annotations

from typing import Any

from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import Look, ratio_axis, tip
from prunebench.report.charts.tradeoff import tradeoff

TITLE = "Accuracy against theoretical speedup"
ABOUT = (
    "Multiply-accumulates of the dense network divided by those of the pruned one. This is what arithmetic promises; "
    "what a clock says is in the chart of measured speedup."
)
EMPTY = "No trial here has both an accuracy and a count of multiply-accumulates."
COLUMNS = {**WHICH, **ACCURACY, "x": ("theoretical speedup", "ratio")}
BRUSH = ("theoretical_speedup", "accuracy")


def draw(rows: Any, look: Look) -> Any:
    """One panel."""
    axis = ratio_axis("x", "Times fewer multiply-accumulates")
    return tradeoff(rows, look, axis, [tip("x", "theoretical speedup", ".2f")])
