"""Accuracy against the bytes on disk."""

from __future__ import annotations

from typing import Any

import altair as alt

from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import Look, tip
from prunebench.report.charts.tradeoff import tradeoff

TITLE = "Accuracy against stored bytes"
ABOUT = (
    "Bytes on disk, in the form the method itself would store: dense, sparse, codebook or Huffman. Smaller is to the "
    "left."
)
EMPTY = "No trial here has both an accuracy and a stored size."
COLUMNS = {**WHICH, **ACCURACY, "x": ("stored bytes", "bytes")}
BRUSH = ("stored_bytes", "accuracy")


def draw(rows: Any, look: Look) -> Any:
    """One panel."""
    shown = alt.Axis(title="Bytes on disk", format="~s", tickCount=4, grid=False)
    x = alt.X("x", type="quantitative", scale=alt.Scale(type="log", nice=False, padding=12), axis=shown)
    return tradeoff(rows, look, x, [tip("x", "bytes", ",.0f")])
