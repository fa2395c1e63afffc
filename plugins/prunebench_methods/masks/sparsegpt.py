"""SparseGPT: weights become zero column by column, and those to come make up for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import param

from prunebench_methods.masks.informed import DAMP_DOC, InformedMask
from prunebench_methods.masks.patterns import PATTERN_DOC

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.shared.grams import Gram


@dataclass(frozen=True)
class SparseGPT(InformedMask):
    """Zero the weights whose loss of output, made good by later columns, is least (Frantar and Alistarh, 2023).

    Masks are chosen in blocks of columns from the weights as corrected so far. Departs from the authors' code, which
    removes one weight too many in every block, in exact counts; in leaving the weights of inputs that were always zero
    as they are where the share lets them survive; in inputs of the dense network, not of layers already masked; and in
    offering each input scaled to one size (`scale = "jacobi"`), which is kinder to outlier channels.
    """

    name = "sparsegpt"
    paper = "https://arxiv.org/abs/2301.00774"

    pattern: str = param("layer", PATTERN_DOC)
    damp: float = param(0.01, DAMP_DOC, at_least=1e-8, at_most=10)
    scale: str = param("mean", "inputs as they are, or each scaled to one size", choices=("mean", "jacobi"))
    block: int = param(128, "columns that are masked at once", at_least=1, at_most=4096)

    def check(self) -> None:
        """The share and the pattern agree, and blocks hold whole groups."""
        super().check()
        if self.wanted.group and self.block % self.wanted.group:
            raise ValueError(f"block {self.block} must be a multiple of {self.wanted.group}, as {self.pattern} needs")

    def weights(self, weight: Tensor, gram: Gram, group: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """The corrected weight and its mask."""
        from prunebench_methods.masks.sparsegpt_math import corrected

        return corrected(weight, gram, group, self)
