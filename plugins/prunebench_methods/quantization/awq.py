"""AWQ: inputs that are large get finer steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import param

from prunebench_methods.quantization.bits import Bits

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.quantization.grids import Grid
    from prunebench_methods.shared.grams import Gram


@dataclass(frozen=True)
class AWQ(Bits):
    """Multiply each input's weights by its mean size to a power, round, divide again; then clip (Lin et al., 2024).

    The power, of twenty, and the clip of every group are those that lose least of the layer's own output. Departs from
    the authors' code in judging by layers, not by blocks; in sizes as root mean squares, not mean absolute values; and
    in storing the inputs' factors with the layer (16 bits each, counted), where theirs go into the operation before it.
    """

    name = "awq"
    paper = "https://arxiv.org/abs/2306.00978"
    reads_inputs = True
    scales_inputs = True

    clip: bool = param(True, "search for a clip of every group, down to half of its largest weight")

    def grid(self, weight: Tensor, gram: Gram | None, place: int) -> tuple[Grid, Tensor]:
        """The grid with its inputs' factors, and the nearest codes."""
        from prunebench_methods.quantization.awq_math import scaled_grid

        assert gram is not None
        return scaled_grid(weight, gram, place, self)
