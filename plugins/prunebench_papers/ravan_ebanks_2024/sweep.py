"""Figures 4 to 8 and Garg's analysis as the paper draws them: accuracy above, time below, against the swept value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import altair as alt
from prunebench import Chart, Look

ABOVE, BELOW, GAP = 150, 150, 34  # pixels
COLOURS = ("#2878d0", "#e0661a", "#1f9e77", "#8a63c4")  # dense in blue; on light and on dark paper
TIMES = "datum.value < 1 ? '1/' + format(1 / datum.value, '.3~r') : format(datum.value, '.3~r') + '×'"
WHOSE = ("ours", "published")


@dataclass(frozen=True)
class Sweep(Chart):
    """A figure of two plots that share what is swept, a panel per network."""

    figures: ClassVar[tuple[str, ...]]  # of the paper
    swept: ClassVar[str]
    lines: ClassVar[tuple[str, ...]] = ("dense", "as run")
    empty = "No trial of this run is in this figure."
    is_wide = True
    columns = {
        "panel": ("figure", "text"),
        "series": ("line", "text"),
        "source": ("whose", "text"),
        "method": ("method", "text"),
        "swept": ("swept value", "number"),
        "accuracy": ("top-1 accuracy, mean", "share"),
        "accuracy_low": ("mean − std", "share"),
        "accuracy_high": ("mean + std", "share"),
        "time_ratio": ("time / dense, mean", "ratio"),
        "time_low": ("mean − std", "ratio"),
        "time_high": ("mean + std", "ratio"),
        "seed_count": ("trials", "integer"),
    }

    @property
    def sql(self) -> str:
        """The query that all figures share, over this chart's."""
        listed = ", ".join(f"'{figure}'" for figure in self.figures)
        return Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").replace("$figures", listed)

    def draw(self, rows: Any, look: Look) -> Any:
        """Two plots in one view, each with the upper or the lower half of its height."""
        axis = alt.Axis(title=self.swept, grid=False, tickCount=6)
        x = alt.X("swept", type="quantitative", axis=axis, scale=alt.Scale(nice=False, padding=8))
        base = alt.Chart(rows).encode(x=x, color=self.colour(), detail=alt.Detail(field="source", type="nominal"))
        share = alt.Axis(title="Accuracy", format=".0%", tickCount=5, orient="left")
        times = alt.Axis(title="Time / dense", labelExpr=TIMES, tickCount=5, orient="left")
        upper = alt.Scale(range=[ABOVE, 0], zero=False, padding=6)
        lower = alt.Scale(range=[ABOVE + GAP + BELOW, ABOVE + GAP], type="log", base=2, nice=False, padding=6)
        above = _lines(base, "accuracy", "accuracy", upper, share)
        below = _lines(base, "time_ratio", "time", lower, times)
        both = alt.layer(above, below).resolve_scale(y="independent")
        return both.properties(height=ABOVE + GAP + BELOW)

    def colour(self) -> alt.Color:
        """A colour a line, whoever measured it."""
        scale = alt.Scale(domain=list(self.lines), range=list(COLOURS[: len(self.lines)]))
        return alt.Color("series", type="nominal", scale=scale, legend=alt.Legend(title=None, orient="bottom"))


def _lines(base: Any, field: str, stem: str, scale: alt.Scale, axis: alt.Axis) -> Any:
    """Ours: a line with its band and full points; published: dashes, hollow points, a bar of one standard deviation."""
    y = alt.Y(field, type="quantitative", scale=scale, axis=axis)
    low, high = alt.Y(f"{stem}_low", type="quantitative", scale=scale, axis=axis), f"{stem}_high"
    ours, theirs = (base.transform_filter(alt.datum.source == whose) for whose in WHOSE)
    told = [
        alt.Tooltip("series", type="nominal", title="line"), alt.Tooltip("source", type="nominal", title="whose"),
        alt.Tooltip("swept", type="quantitative"), alt.Tooltip("accuracy", type="quantitative", format=".2%"),
        alt.Tooltip("time_ratio", type="quantitative", title="time / dense", format=".3~f"),
        alt.Tooltip("seed_count", type="quantitative", title="trials"),
    ]  # fmt: skip
    shape = alt.Shape("source", type="nominal", scale=alt.Scale(domain=WHOSE, range=["circle", "square"]), legend=None)
    return alt.layer(
        ours.mark_area(opacity=0.2, line=False).encode(y=low, y2=high),
        theirs.mark_rule(opacity=0.5).encode(y=low, y2=high),
        ours.mark_line(strokeWidth=1.8).encode(y=y),
        theirs.mark_line(strokeWidth=1.2, strokeDash=[4, 3]).encode(y=y),
        ours.mark_point(filled=True, size=34).encode(y=y, shape=shape, tooltip=told),
        theirs.mark_point(filled=False, size=30, strokeWidth=1.2).encode(y=y, shape=shape, tooltip=told),
    )
