"""Monochromatic filters: the first convolution sees a few mixed colours, and each filter only one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.decompositions.decompose import convolution_refusal
from prunebench_methods.decompositions.pieces import Piece, chain_mac_count, sizes_known, weight_count

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Monochromatic(Method):
    """The first convolution as a 1x1 one to `colours` channels, and filters that see one colour each.

    Denton et al., 2014. Departs from it in turning the colour vectors to one side before they are clustered (the sign
    of a singular vector means nothing), and in the best filter for the shared colour instead of that for its own.
    """

    name = "monochromatic"
    paper = "https://arxiv.org/abs/1404.0736"
    stochastic = True
    knob = "colours"
    example = {"colours": 4}

    colours: int = param(8, "mixed colours", at_least=1)
    equal: bool = param(True, "as many filters to every colour, which a grouped convolution computes")

    def pieces(self, shape: LayerShape) -> tuple[Piece, ...]:
        """1x1 to the colours, then the filters: a group a colour, or where sizes differ each on its own copy."""
        colours, filters = min(self.colours, shape.out_channels), shape.out_channels
        inputs, groups = (colours, colours) if self.equal else (filters, filters)
        return (
            Piece(colours, shape.in_channels),
            Piece(filters, inputs, shape.kernel, groups, rows=True, columns=True),
        )

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone; empty for the first convolution where that can be changed."""
        first = next((shape.name for shape in shapes if shape.kind == "conv2d"), None)
        return {shape.name: self._why(shape) if shape.name == first else self._why_not(shape) for shape in shapes}

    def _why_not(self, shape: LayerShape) -> str:
        return "not a convolution" if shape.kind != "conv2d" else "not the first convolution"

    def _why(self, shape: LayerShape) -> str:
        if why := convolution_refusal(shape, spatial=True):
            return why
        if shape.in_channels == 1:
            return "grey input: one colour is all there is"
        if self.equal and shape.out_channels % min(self.colours, shape.out_channels):
            return f"{shape.out_channels} filters do not divide into {self.colours} colours: equal = false allows it"
        weights = weight_count(self.pieces(shape))
        if weights >= shape.weight_count:
            return f"{self.colours} colours save nothing: {weights} weights instead of {shape.weight_count}"
        return ""

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """C·C' + X·Y·F weights for the first layer."""
        if not sizes_known(shapes):
            return None
        why = self.reasons(shapes)
        return [LayerCounts.unchanged(s, why[s.name]) if why[s.name] else self._counts(s) for s in shapes]

    def _counts(self, shape: LayerShape) -> LayerCounts:
        pieces = self.pieces(shape)
        parameters = weight_count(pieces) + (shape.out_channels if shape.bias else 0)
        return LayerCounts(shape.name, parameters, parameters, chain_mac_count(shape, pieces), pieces[0].out_channels)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The network with its first convolution replaced."""
        from prunebench_methods.decompositions.monochromatic_math import with_colours

        reasons = self.reasons(task.shapes)
        chains = {shape.name: self.pieces(shape) for shape in task.shapes if not reasons[shape.name]}
        return with_colours(network, task, chains, reasons, equal=self.equal)
