"""How far each layer's weights are from the dense ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prunebench.plugins.chart import Look
from prunebench.report.charts.heat import LayerHeat, heat


@dataclass(frozen=True)
class LayerError(LayerHeat):
    """Relative error of a layer's weights in the Frobenius norm, averaged over seeds.

    0 is exact, 1 is as far as zero.
    """

    name = "layer_error"
    title = "Error of each layer"
    empty = "No method here recorded the error of its layers."
    shows = "The relative error of each layer's weights."
    having = "bool_or(drawn.weight_error is not null)"

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel."""
        return heat(rows, "error", "relative weight error", "ramp", ".2f")
