"""Accuracy against how much smaller the network is."""

from __future__ import annotations

from typing import Any

from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import Look, ratio_axis, tip
from prunebench.report.charts.tradeoff import tradeoff

TITLE = "Accuracy against compression"
ABOUT = (
    "How much accuracy is left as parameters go: dense parameters divided by those that are not zero. Bars are one "
    "standard deviation over seeds, the thin lines each method's best settings, the broad line the best of all."
)
EMPTY = "No trial here has both an accuracy and a parameter count."
COLUMNS = {**WHICH, **ACCURACY, "x": ("compression ratio", "ratio")}
BRUSH = ("compression_ratio", "accuracy")


def draw(rows: Any, look: Look) -> Any:
    """One panel."""
    return tradeoff(rows, look, ratio_axis("x", "Times fewer parameters"), [tip("x", "compression", ".2f")])
