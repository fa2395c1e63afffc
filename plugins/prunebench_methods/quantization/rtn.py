"""Rounding to the nearest: what every other way to few bits has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import param

from prunebench_methods.quantization.bits import Bits

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.quantization.grids import Grid
    from prunebench_methods.shared.grams import Gram

SYMMETRIC_DOC = "no zero points: as many levels on both sides of zero"


@dataclass(frozen=True)
class RoundToNearest(Bits):
    """Round every weight to the nearest level between the least and the largest of its row or group.

    The baseline of Frantar et al. (2023). No data is looked at. Zero is a level, so that zeros stay.
    """

    name = "rtn"
    paper = "https://arxiv.org/abs/2210.17323"

    symmetric: bool = param(False, SYMMETRIC_DOC)

    @property
    def stores_zeros(self) -> bool:
        """Only where zero is not in the middle."""
        return not self.symmetric

    def grid(self, weight: Tensor, gram: Gram | None, place: int) -> tuple[Grid, Tensor]:
        """The extremes' grid and the nearest codes."""
        from prunebench_methods.quantization.grids import fitted_grid

        grid = fitted_grid(weight, self.group, self.bits, symmetric=self.symmetric)
        return grid, grid.codes(weight)
