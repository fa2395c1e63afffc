"""Wanda: weights that multiply small inputs go first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench_methods.masks.informed import InformedMask

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.shared.grams import Gram


@dataclass(frozen=True)
class Wanda(InformedMask):
    """Zero the weights whose absolute value times the norm of their input is smallest (Sun et al., 2024).

    Survivors keep their values. Compared within an output row, as in the paper, or within the layer. Departs from the
    authors' code in taking all inputs from the dense network at once, not from the layers already masked, and in
    masking convolutions by their unfolded inputs. n:m saves parameters; no kernel here runs faster for it.
    """

    name = "wanda"
    paper = "https://arxiv.org/abs/2306.11695"

    def weights(self, weight: Tensor, gram: Gram, group: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """The weight as it is, and its mask."""
        from prunebench_methods.masks.pattern_math import pattern_mask

        norms = gram.diagonal()[group].sqrt().to(weight.dtype)
        return weight, pattern_mask(weight.abs() * norms, self.wanted)
