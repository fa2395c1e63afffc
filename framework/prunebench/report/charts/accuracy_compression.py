"""Accuracy against how much smaller the network is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Look
from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import tip
from prunebench.report.charts.tradeoff import Tradeoff, tradeoff


@dataclass(frozen=True)
class AccuracyCompression(Tradeoff):
    """What becomes of the score as parameters go: dense parameters divided by those that are not zero. Bars are one
    standard deviation over seeds, the thin lines each method's best settings, the broad line the best of all. Dots are
    what is scored without any network.
    """

    name = "accuracy_compression"
    title = "Accuracy against compression"
    empty = "No trial here has both a score and a parameter count."
    columns = {**WHICH, **ACCURACY, "x": ("compression ratio", "ratio")}
    shows = "Accuracy against how many times fewer parameters there are."
    column = "compression_ratio"
    brush = ("compression_ratio", "accuracy")

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel."""
        return tradeoff(
            rows, look, alt.X("x", **look.axis("ratio", "Times fewer parameters")), [tip("x", "compression", ".2f")]
        )
