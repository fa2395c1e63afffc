"""How far each layer's weights are from the dense ones."""

from __future__ import annotations

from typing import Any

from prunebench.report.charts.heat import heat
from prunebench.report.charts.layer_kept import COLUMNS
from prunebench.report.charts.marks import Look

TITLE = "Error of each layer"
ABOUT = (
    "Relative error of a layer's weights in the Frobenius norm, averaged over seeds: 0 is exact, 1 is as far as zero."
)
EMPTY = "No method here recorded the error of its layers."
__all__ = ["ABOUT", "COLUMNS", "EMPTY", "TITLE", "draw"]


def draw(rows: Any, look: Look) -> Any:
    """One panel."""
    return heat(rows, look, "error", "relative weight error", "ramp", ".2f")
