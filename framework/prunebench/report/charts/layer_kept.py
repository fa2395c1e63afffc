"""The share of each layer's parameters that is left."""

from __future__ import annotations

from typing import Any

from prunebench.report.charts.columns import WHICH
from prunebench.report.charts.heat import heat
from prunebench.report.charts.marks import Look

TITLE = "What each layer kept"
ABOUT = (
    "The share of a layer's parameters that are stored and not zero, averaged over seeds; the rank is in the tooltip. "
    "A dot is a layer that the method left alone, with its reason."
)
EMPTY = "No method here recorded its layers."
LAYER = {
    "layer": ("layer", "text"),
    "position": ("position", "integer"),
    "place": ("order", "integer"),
    "kept": ("parameters kept", "share"),
    "rank": ("rank", "number"),
    "error": ("relative weight error", "number"),
    "output_error": ("relative output error", "number"),
    "left_alone": ("left alone because", "text"),
}
COLUMNS = {**WHICH, **LAYER}


def draw(rows: Any, look: Look) -> Any:
    """One panel."""
    return heat(rows, look, "kept", "parameters kept", "heatmap", ".0%")
