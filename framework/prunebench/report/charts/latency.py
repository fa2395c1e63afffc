"""Where the times of one forward pass lie: the blocks themselves, not their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.columns import WHICH
from prunebench.report.charts.marks import kept_numbers, room, tip


@dataclass(frozen=True)
class Latency(Chart):
    """Milliseconds of one forward pass of one batch: the line spans the 5th to the 95th percentile of the timed blocks
    of all seeds, the bar the middle half, the tick the median.
    """

    name = "latency"
    title = "Latency distributions"
    empty = "No trial here was timed."
    columns = {
        **WHICH,
        "block_count": ("blocks", "integer"),
        "p05": ("5 %", "ms"),
        "p25": ("25 %", "ms"),
        "p50": ("median", "ms"),
        "p75": ("75 %", "ms"),
        "p95": ("95 %", "ms"),
    }
    is_wide = True

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and batch size; a row per setting, the fastest on top."""
        order = alt.EncodingSortField("p50", op="min", order="ascending")
        named = alt.Axis(title=None, labelExpr=kept_numbers("room"), grid=False, ticks=False, domain=False)
        y = alt.Y("label", type="nominal", sort=order, axis=named)
        base = alt.Chart(rows).encode(y=y, color=look.colour())
        axis = alt.Axis(title="Milliseconds a batch", tickCount=5)
        scale = alt.Scale(zero=False, padding=8)
        whole = base.mark_rule(strokeWidth=1.2).encode(
            x=alt.X("p05", type="quantitative", scale=scale, axis=axis), x2="p95", opacity=look.faded(0.8)
        )
        half = base.mark_bar(height=7, cornerRadius=2).encode(
            x=alt.X("p25", type="quantitative"), x2="p75", opacity=look.faded(0.45)
        )
        told = [tip("setting", "setting", kind="nominal"), tip("p50", "median, ms", ".4g"), tip("p05", "5 %", ".4g"),
                tip("p95", "95 %", ".4g"), tip("block_count", "blocks"), tip("seed_count", "seeds")]  # fmt: skip
        middle = base.mark_tick(thickness=2.5, size=13).encode(
            x=alt.X("p50", type="quantitative"), opacity=look.faded(1), tooltip=told
        )
        return alt.layer(whole, half, middle).add_params(room()).properties(height=alt.Step(17))
