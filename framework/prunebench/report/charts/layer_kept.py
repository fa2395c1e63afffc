"""The share of each layer's parameters that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prunebench.plugins.chart import Look
from prunebench.report.charts.heat import LayerHeat, heat


@dataclass(frozen=True)
class LayerKept(LayerHeat):
    """The share of a layer's parameters that are stored and not zero, averaged over seeds; the rank is in the tooltip.
    An orange layer has grown; a dot is one that the method left alone, with its reason.
    """

    name = "layer_kept"
    title = "What each layer kept"
    empty = "No method here recorded its layers."
    shows = "The share of each layer's parameters that is stored and not zero."
    having = "kept is not null or left_alone is not null"

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel."""
        return heat(rows, "kept", "parameters kept", "heatmap", ".0%", most=1)
