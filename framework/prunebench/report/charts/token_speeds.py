"""How much faster a language model reads a text (prefill) and writes one (decode)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.columns import SPEEDUP, WHICH
from prunebench.report.charts.marks import even


@dataclass(frozen=True)
class TokenSpeeds(Chart):
    """Language models are fast in two ways. Prefill reads a whole window in one pass; decode writes one more token
    behind a cache of the earlier ones. Bars are 95 % intervals, the line at 1× is as fast as dense. The pointer shows
    tokens per second.
    """

    name = "token_speeds"
    title = "Reading and writing: prefill and decode"
    empty = "No language model here was timed."
    columns = {
        **WHICH,
        "mode": ("mode", "text"),
        **SPEEDUP,
        "tokens_per_second": ("tokens per second", "number"),
        "dense_tokens_per_second": ("tokens per second, dense", "number"),
    }

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and batch size; a column per mode."""
        axis = alt.Axis(title=None, labelAngle=0, grid=False)
        x = alt.X("mode", type="nominal", sort=["prefill", "decode"], axis=axis)
        y = alt.Y("speedup", **look.axis("ratio", "Times faster, measured"))
        base = alt.Chart(rows).encode(x=x, y=y, xOffset=alt.XOffset("setting", type="nominal"))
        equal = even().encode(y=alt.Y("even", type="quantitative"))
        bars = base.mark_rule(strokeWidth=1.1).encode(
            y=alt.Y("speedup_low", type="quantitative"), y2="speedup_high", color=look.colour(), opacity=look.faded(0.6)
        )
        told = look.tips(
            ("speedup", "measured", ".2f"),
            ("speedup_low", "interval from", ".2f"),
            ("speedup_high", "interval to", ".2f"),
            ("tokens_per_second", "tokens/s", ",.0f"),
            ("dense_tokens_per_second", "tokens/s, dense", ",.0f"),
        )
        points = base.mark_point(filled=True, size=62).encode(
            color=look.colour(), shape=look.shape(), opacity=look.faded(0.95), tooltip=told
        )
        return alt.layer(equal, bars, points)
