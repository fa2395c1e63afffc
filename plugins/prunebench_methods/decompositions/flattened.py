"""Flattened convolutions: across channels, then along columns, then along rows, one number thick each."""

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
class Flattened(Method):
    """Each filter as a product of a vector across channels, one along the columns and one along the rows (Jin, 2014).

    As a decomposition (`from_scratch = false`) each filter becomes its nearest rank-one tensor, `stages` must be 1 and
    the biases are the layer's. As in the paper (`from_scratch = true`) every convolution becomes `stages` such triples
    with a bias behind each part and fresh weights, the rest of the network goes back to its initialisation, and all is
    trained by the recipe of the dense network. Departs from the paper in drawing fresh weights so that the variance
    survives the chain, and in keeping the layer's own padding in the last stage.
    """

    name = "flattened"
    paper = "https://arxiv.org/abs/1412.5474"
    stochastic = True
    trains = True

    from_scratch: bool = param(True, "train the flattened network from the start, instead of decomposing the dense one")
    stages: int = param(2, "triples that one convolution becomes", at_least=1)
    sweeps: int = param(30, "alternating least squares over the three vectors, at most", at_least=1)
    even_if_larger: bool = param(False, "replace layers also where the triples have no fewer weights than the layer")

    def check(self) -> None:
        """A decomposition has one stage."""
        if not self.from_scratch and self.stages != 1:
            raise ValueError(f"stages must be 1 unless from_scratch, got {self.stages}")

    def pieces(self, shape: LayerShape) -> tuple[Piece, ...]:
        """All stages of a layer; the layer's geometry is that of the last one, the others keep the size."""
        stages = [self._stage(shape, number) for number in range(self.stages)]
        return tuple(piece for stage in stages for piece in stage)

    def _stage(self, shape: LayerShape, number: int) -> tuple[Piece, ...]:
        inputs, outputs = shape.in_channels if number == 0 else shape.out_channels, shape.out_channels
        is_last = number == self.stages - 1
        return (
            Piece(outputs, inputs),
            Piece(outputs, outputs, (shape.kernel[0], 1), outputs, rows=is_last),
            Piece(outputs, outputs, (1, shape.kernel[1]), outputs, columns=is_last),
        )

    def why_left_alone(self, shape: LayerShape) -> str:
        """The reason why a layer stays as it is; empty when it is flattened."""
        if why := convolution_refusal(shape, spatial=True):
            return why
        weights = weight_count(self.pieces(shape))
        if weights < shape.weight_count or self.even_if_larger:
            return ""
        return f"{weights} weights in {self.stages} stages save nothing on {shape.weight_count}"

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """F(C + Y + X) weights per stage, and biases: 3F per stage from scratch, the layer's own otherwise."""
        return [self._layer_counts(shape) for shape in shapes] if sizes_known(shapes) else None

    def _layer_counts(self, shape: LayerShape) -> LayerCounts:
        if why := self.why_left_alone(shape):
            return LayerCounts.unchanged(shape, why)
        pieces = self.pieces(shape)
        own = shape.out_channels if shape.bias else 0
        biases = len(pieces) * shape.out_channels if self.from_scratch else own
        parameters = weight_count(pieces) + biases
        return LayerCounts(shape.name, parameters, parameters, chain_mac_count(shape, pieces), rank=1)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The network with flattened convolutions, trained if so asked."""
        from prunebench_methods.decompositions.flattened_math import Plan, decomposed, trained_from_scratch

        reasons = {shape.name: self.why_left_alone(shape) for shape in task.shapes}
        plan = Plan({shape.name: self.pieces(shape) for shape in task.shapes if not reasons[shape.name]}, reasons)
        if self.from_scratch:
            return trained_from_scratch(network, task, plan, self.stages)
        return decomposed(network, task, plan, self.sweeps)
