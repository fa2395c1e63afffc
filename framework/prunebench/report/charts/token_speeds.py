"""How much faster a language model reads a text (prefill) and writes one (decode)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.columns import SPEEDUP, WHICH
from prunebench.report.charts.marks import even, speedups_beside, with_intervals
from prunebench.report.charts.template import filled


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

    @property
    def sql(self) -> str:
        """The query, with the fragment that it shares."""
        return filled(self.name)

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and batch size; a column per mode."""
        axis = alt.Axis(title=None, labelAngle=0, grid=False)
        x = alt.X("mode", type="nominal", sort=["prefill", "decode"], axis=axis)
        base = speedups_beside(rows, x, look)
        equal = even().encode(y=alt.Y("even", type="quantitative"))
        told = look.tips(
            ("speedup", "measured", ".2f"),
            ("speedup_low", "interval from", ".2f"),
            ("speedup_high", "interval to", ".2f"),
            ("tokens_per_second", "tokens/s", ",.0f"),
            ("dense_tokens_per_second", "tokens/s, dense", ",.0f"),
        )
        return alt.layer(equal, *with_intervals(base, look, told))
