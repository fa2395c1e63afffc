"""Which layers a method of masks or bits works on, and why it leaves the others; torch-free, for closed forms."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench import LayerShape

SECTIONS = ("all", "fc", "conv")
KINDS = {"all": ("linear", "conv2d"), "fc": ("linear",), "conv": ("conv2d",)}


def why_left_alone(layer: LayerShape, section: str) -> str:
    """The reason why the weights of `layer` are not touched; empty when they are."""
    if layer.kind not in KINDS[section]:
        return f"a {layer.kind} layer, and the section is {section!r}"
    if layer.tied:
        return "its weight is shared with another layer"
    if layer.weight_count == 0:
        return "it has no weights"
    return ""


def touched(shapes: Sequence[LayerShape], section: str) -> list[LayerShape]:
    """The layers of `shapes` whose weights are touched, in order."""
    return [layer for layer in shapes if not why_left_alone(layer, section)]
