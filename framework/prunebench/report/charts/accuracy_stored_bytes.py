"""Accuracy against the bytes on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Look
from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import tip
from prunebench.report.charts.tradeoff import Tradeoff, tradeoff


@dataclass(frozen=True)
class AccuracyStoredBytes(Tradeoff):
    """Bytes on disk, in the form the method itself would store: dense, sparse, codebook or Huffman. Smaller is to the
    left.
    """

    name = "accuracy_stored_bytes"
    title = "Accuracy against stored bytes"
    empty = "No trial here has both a score and a stored size."
    columns = {**WHICH, **ACCURACY, "x": ("stored bytes", "bytes")}
    shows = "Accuracy against bytes on disk, as the method stores them."
    column = "stored_bytes"
    direction = "asc"
    brush = ("stored_bytes", "accuracy")

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel."""
        shown = alt.Axis(title="Bytes on disk", format="~s", tickCount=4, grid=False)
        x = alt.X("x", type="quantitative", scale=alt.Scale(type="log", nice=False, padding=12), axis=shown)
        return tradeoff(rows, look, x, [tip("x", "bytes", ",.0f")])
