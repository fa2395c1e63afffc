"""HQQ: zero points that suit most weights, the few large errors not counted."""

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
class HQQ(Bits):
    """Choose the zero point of every group by half-quadratic splitting of a sparse error norm (Badri and Shaji, 2023).

    No data is looked at. Zero points are no whole numbers: they are stored in 16 bits, and a zero weight is not kept.
    """

    name = "hqq"
    paper = "https://dropbox.github.io/hqq_blog/"
    keeps_zeros = False

    norm: float = param(0.7, "power of the error norm", above=0, at_most=1)
    rounds: int = param(20, "alternations at most", at_least=1)

    def grid(self, weight: Tensor, gram: Gram | None, place: int) -> tuple[Grid, Tensor]:
        """The grid and the nearest codes."""
        from prunebench_methods.quantization.hqq_math import half_quadratic

        return half_quadratic(weight, self)
