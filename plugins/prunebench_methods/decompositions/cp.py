"""CP decomposition of convolutions, in the chain of four layers and in forms without depthwise kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerShape, Task, param

from prunebench_methods.decompositions.decompose import Decomposition
from prunebench_methods.decompositions.pieces import Factors, Piece

if TYPE_CHECKING:
    from torch import nn

FORMS = ("four", "three", "two")


@dataclass(frozen=True)
class Cp(Decomposition):
    """A convolution as a sum of `rank` outer products of an output, an input, a row and a column vector.

    Lebedev et al., 2015. Departs from it in alternating least squares with a decaying ridge and balanced norms in
    place of nonlinear least squares: components cannot diverge against each other. `form` says how the sum is executed:
    "four" layers as in the paper (1x1, kh x 1 and 1 x kw depthwise, 1x1); "three", the depthwise two merged into one;
    "two", a kh x 1 and a 1 x kw convolution without depthwise kernels, which are slow on CPUs (it has the shape of
    spatial_svd, which at that rank comes nearer to the layer). There is no pivot form: depthwise kernels stand between
    the inputs and the outputs of a component, so that components cannot be mixed.
    """

    name = "cp"
    paper = "https://arxiv.org/abs/1412.6553"
    stochastic = True

    form: str = param("four", "layers that a convolution becomes", choices=FORMS)
    ridge: float = param(1e-3, "weight of the squared norms at the start, of a kernel scaled to norm 1", at_least=0)
    sweeps: int = param(60, "alternating least squares over all modes, at most", at_least=1)

    def pieces(self, shape: LayerShape, rank: int) -> tuple[Piece, ...]:
        """The layers of the chosen form."""
        (height, width), inputs, outputs = shape.kernel, shape.in_channels, shape.out_channels
        if self.form == "two":
            return (
                Piece(rank, inputs, (height, 1), rows=True),
                Piece(outputs, rank, (1, width), columns=True),
            )
        if self.form == "three":
            middle: tuple[Piece, ...] = (Piece(rank, rank, (height, width), rank, rows=True, columns=True),)
        else:
            middle = (
                Piece(rank, rank, (height, 1), rank, rows=True),
                Piece(rank, rank, (1, width), rank, columns=True),
            )
        return (Piece(rank, inputs), *middle, Piece(outputs, rank))

    def exact_rank(self, shape: LayerShape) -> int:
        """The product of all sizes of the kernel but the largest."""
        sizes = (shape.out_channels, shape.in_channels, *shape.kernel)
        return math.prod(sizes) // max(sizes)

    def factors(self, layer: nn.Conv2d, name: str, rank: int, task: Task) -> Factors:
        """Fitted from a start that a sweep over ranks computes once."""
        from prunebench_methods.decompositions import als, cp_math

        found = task.once(("mode_bases", name), lambda: cp_math.kernel_bases(layer))
        settings = als.Settings(self.ridge, self.sweeps)
        return cp_math.cp_factors(layer, found, rank, task.generator, settings, self.form)
