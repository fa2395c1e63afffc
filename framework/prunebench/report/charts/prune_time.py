"""What pruning itself costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.columns import WHICH
from prunebench.report.charts.marks import tip


@dataclass(frozen=True)
class PruneTime(Chart):
    """Seconds that the method took on the dense network, without fine-tuning; one mark a setting, on a logarithmic
    axis.
    """

    name = "prune_time"
    title = "What pruning costs"
    empty = "No trial here has a pruning time above zero."
    columns = {**WHICH, "prune_seconds": ("prune, mean", "seconds"), "finetune_seconds": ("fine-tune, mean", "seconds")}

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel; a row per method."""
        x = alt.X("prune_seconds", type="quantitative", scale=alt.Scale(type="log", nice=False, padding=12),
                  axis=alt.Axis(title="Seconds", tickCount=4, format="~g", grid=False))  # fmt: skip
        y = alt.Y("method", type="nominal", sort=alt.EncodingSortField("prune_seconds", op="median"),
                  axis=alt.Axis(title=None, labelLimit=170, grid=False, domain=False, ticks=False))  # fmt: skip
        told = [tip("setting", "setting", kind="nominal"), tip("prune_seconds", "prune, s", ".3g"),
                tip("finetune_seconds", "fine-tune, s", ".3g"), tip("seed_count", "seeds")]  # fmt: skip
        marks = alt.Chart(rows).mark_point(filled=True, size=50)
        shown = marks.encode(x=x, y=y, color=look.colour(), shape=look.shape(), opacity=look.faded(0.85), tooltip=told)
        return shown.properties(height=alt.Step(26))
