"""What metrics beyond accuracy say as networks get smaller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prunebench import Chart, Look


@dataclass(frozen=True)
class MetricsCompression(Chart):
    """Numbers of metric plugins, one panel each, as parameters go: dense parameters over those that are not zero.

    Bars are one standard deviation over seeds.
    """

    name = "metrics_compression"
    title = "Other metrics against compression"
    empty = "No trial here measured more than accuracy: the protocol named no metrics."
    columns = {
        "panel": ("data set · model", "text"),
        "part": ("metric", "text"),
        "method": ("method", "text"),
        "setting": ("method and setting", "text"),
        "control": ("control", "bool"),
        "seed_count": ("seeds", "integer"),
        "compression_ratio": ("compression ratio", "ratio"),
        "value": ("mean", "number"),
        "value_low": ("mean − std", "number"),
        "value_high": ("mean + std", "number"),
    }

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and metric."""
        import altair as alt

        base = alt.Chart(rows).encode(
            x=alt.X("compression_ratio", **look.axis("ratio", "Times fewer parameters")), color=look.colour()
        )
        bars = base.mark_rule().encode(
            y=alt.Y("value_low", type="quantitative"), y2="value_high", opacity=look.faded(0.5)
        )
        told = look.tips(("value", "mean", ".4g"), ("compression_ratio", "compression", ".2f"))
        points = base.mark_point(filled=True, size=62).encode(
            y=alt.Y("value", **look.axis("number", "Mean")), shape=look.shape(), opacity=look.faded(0.95), tooltip=told
        )
        return alt.layer(bars, points)
