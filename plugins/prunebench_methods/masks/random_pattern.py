"""The control of masks of a pattern: as many survivors in every row or group, but drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench_methods.masks.informed import InformedMask

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.shared.grams import Gram


@dataclass(frozen=True)
class RandomPattern(InformedMask):
    """Zero weights drawn at random within the pattern of `wanda` and `sparsegpt`: what choosing them is worth.

    As many survive in every row, layer or group of M inputs as with those methods at the same settings, and at a share
    that is spread over layers the same layers keep more. Data decides nothing but that spread.
    """

    name = "random_pattern"
    paper = "https://arxiv.org/abs/2003.03033"
    control = True
    stochastic = True

    def weights(self, weight: Tensor, gram: Gram, group: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """The weight as it is, and the mask that this seed draws."""
        from prunebench_methods.masks.pattern_math import drawn_mask

        return weight, drawn_mask(weight, self.wanted, seed)
