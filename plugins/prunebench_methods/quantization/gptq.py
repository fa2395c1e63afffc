"""GPTQ: columns are rounded one after another, and those to come make up for the error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import param

from prunebench_methods.quantization.bits import DAMP_DOC, Bits
from prunebench_methods.quantization.rtn import SYMMETRIC_DOC

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.quantization.grids import Grid
    from prunebench_methods.shared.grams import Gram


@dataclass(frozen=True)
class GPTQ(Bits):
    """Round column by column and let the later columns of a row make good what each loses (Frantar et al., 2023).

    Columns of the largest inputs first by default (`act_order`); then groups have their scales from the dense weights,
    so that no order needs storing. Departs from the authors' code in inputs of the dense network, not of layers already
    rounded; in scales that 16 bits hold; and in leaving a weight of zero at zero, so that it goes on from a mask.
    """

    name = "gptq"
    paper = "https://arxiv.org/abs/2210.17323"
    reads_inputs = True

    symmetric: bool = param(False, SYMMETRIC_DOC)
    act_order: bool = param(True, "the columns of the largest inputs first")
    static_groups: bool = param(True, "scales from the dense weights; else from those as corrected so far")
    damp: float = param(0.01, DAMP_DOC, at_least=1e-8, at_most=10)

    def check(self) -> None:
        """An order by size needs scales that are known beforehand."""
        if self.act_order and not self.static_groups:
            raise ValueError("act_order needs static_groups = true: groups would not be neighbours any more")

    @property
    def stores_zeros(self) -> bool:
        """Only where zero is not in the middle."""
        return not self.symmetric

    def grid(self, weight: Tensor, gram: Gram | None, place: int) -> tuple[Grid, Tensor]:
        """The grid and the codes after error feedback."""
        from prunebench_methods.quantization.gptq_math import fed_back

        assert gram is not None
        return fed_back(weight, gram, place, self)
