"""The control of every method of low rank: directions that nothing chose."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench_methods.low_rank.informed import InformedProduct

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.low_rank.informed_math import Product
    from prunebench_methods.shared.grams import Gram
    from prunebench_methods.shared.importance import Importance


@dataclass(frozen=True)
class LowRankRandom(InformedProduct):
    """Products of the same shapes as those of `whitened_svd`, through random directions: what choosing them is worth.

    The weight is projected on random orthonormal directions of its outputs, or of its inputs where it has fewer of
    those, and its bias answers the inputs' mean as before.
    """

    name = "low_rank_random"
    paper = "https://arxiv.org/abs/2403.07378"
    control = True
    stochastic = True
    repairs_mean = True
    energies_are_losses = False

    @property
    def key(self) -> Hashable:
        """Nothing decides it but the seed."""
        return ()

    def product(self, weight: Tensor, gram: Gram, importance: Importance, seed: int = 0) -> Product:
        """Projections on the directions that this seed draws."""
        from prunebench_methods.low_rank.informed_math import random_product

        return random_product(weight, seed)
