"""Separable basis filters of convolutions: a few rank-one filters for every input channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerShape, Task, param

from prunebench_methods.decompositions.decompose import Decomposition
from prunebench_methods.decompositions.pieces import Factors, Piece

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SeparableBasis(Decomposition):
    """`rank` separable filters an input channel, of which all outputs are mixed (Jaderberg et al., 2014, scheme 1).

    As layers: kh x 1 and 1 x kw depthwise, then 1x1. Departs from the paper in fitting the kernel by alternating least
    squares, all input channels at once, instead of gradient descent with a nuclear norm. There is no pivot form:
    each filter sees one input channel, so that filters cannot be mixed.
    """

    name = "separable_basis"
    paper = "https://arxiv.org/abs/1405.3866"
    stochastic = True

    ridge: float = param(1e-3, "weight of the squared norms at the start, of a kernel scaled to norm 1", at_least=0)
    sweeps: int = param(60, "alternating least squares over all modes, at most", at_least=1)

    def pieces(self, shape: LayerShape, rank: int) -> tuple[Piece, ...]:
        """S channels to S · rank by columns, then rows, then mixed to T."""
        inputs, wide = shape.in_channels, shape.in_channels * rank
        return (
            Piece(wide, inputs, (shape.kernel[0], 1), inputs, rows=True),
            Piece(wide, wide, (1, shape.kernel[1]), wide, columns=True),
            Piece(shape.out_channels, wide),
        )

    def exact_rank(self, shape: LayerShape) -> int:
        """As many filters as one has entries, or fewer where few outputs mix them."""
        sizes = (shape.out_channels, *shape.kernel)
        return sizes[0] * sizes[1] * sizes[2] // max(sizes)

    def factors(self, layer: nn.Conv2d, name: str, rank: int, task: Task) -> Factors:
        """Fitted from a start that a sweep over ranks computes once."""
        from prunebench_methods.decompositions import als, separable_basis_math

        found = task.once(("channel_bases", name), lambda: separable_basis_math.channel_bases(layer))
        settings = als.Settings(self.ridge, self.sweeps)
        return separable_basis_math.basis_factors(layer, found, rank, task.generator, settings)
