"""What a target asked for, and what came out."""

from __future__ import annotations

from typing import Any

import altair as alt

from prunebench.report.charts.columns import WHICH
from prunebench.report.charts.marks import HEIGHT, Look, faded, ratio_axis, ratio_axis_up, setting_tips, steered, tip

TITLE = "Requested against achieved"
ABOUT = (
    "Where a grid asks for a result instead of a method's own setting: asked across, achieved upwards, equal on the "
    "line."
)
EMPTY = "No setting here asked for a target, such as a compression."
COLUMNS = {
    **WHICH,
    "requested": ("requested", "ratio"),
    "achieved": ("achieved", "ratio"),
}


def draw(rows: Any, look: Look) -> Any:
    """One panel and target."""
    x = ratio_axis("requested", "Requested")
    y = ratio_axis_up("achieved", "Achieved")
    base = alt.Chart(rows).encode(x=x, y=y)
    equal = base.mark_line(strokeDash=[4, 3], opacity=0.6, color="#7d8590").encode(
        y=alt.Y("requested", type="quantitative")
    )
    told = [*setting_tips(), tip("requested", "requested", ".3~f"), tip("achieved", "achieved", ".3f")]
    points = base.mark_point(filled=True, size=62).encode(
        color=look.colour(), shape=look.shape(), opacity=faded(0.9), tooltip=told
    )
    return steered(alt.layer(equal, points), look).properties(height=HEIGHT)
