"""What a target asked for, and what came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.columns import WHICH


@dataclass(frozen=True)
class Requested(Chart):
    """Where a grid asks for a result instead of a method's own setting: asked across, achieved upwards, equal on the
    line.
    """

    name = "requested"
    title = "Requested against achieved"
    empty = "No setting here asked for a target, such as a compression."
    columns = {
        **WHICH,
        "requested": ("requested", "ratio"),
        "achieved": ("achieved", "ratio"),
    }

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and target."""
        x = alt.X("requested", **look.axis("ratio", "Requested"))
        y = alt.Y("achieved", **look.axis("ratio", "Achieved"))
        base = alt.Chart(rows).encode(x=x, y=y)
        equal = base.mark_line(strokeDash=[4, 3], opacity=0.6, color="#7d8590").encode(
            y=alt.Y("requested", type="quantitative")
        )
        told = look.tips(("requested", "requested", ".3~f"), ("achieved", "achieved", ".3f"))
        points = base.mark_point(filled=True, size=62).encode(
            color=look.colour(), shape=look.shape(), opacity=look.faded(0.9), tooltip=told
        )
        return alt.layer(equal, points)
