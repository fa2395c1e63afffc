"""Low rank in the metric of the loss: what inputs are and what outputs are worth, and one budget for all layers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import param

from prunebench_methods.low_rank.forms import FORM_DOC, FORMS
from prunebench_methods.low_rank.informed import InformedProduct
from prunebench_methods.shared.allocation import ALLOCATION_DOC, ALLOCATIONS

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.low_rank.informed_math import Product
    from prunebench_methods.shared.grams import Gram
    from prunebench_methods.shared.importance import Importance


@dataclass(frozen=True)
class TwoSidedLowRank(InformedProduct):
    """The product of low rank that costs the loss least, its curvature Kronecker-factored (Martens and Grosse, 2015).

    A layer's change is worth what its inputs' covariance and the second moment of the gradients at its outputs make of
    it; the gradients are drawn from the network's own answers, so that labels play no part. Singular values are then in
    one unit for all layers, and `allocation = "global"` gives each the rank at which a weight is worth as much as in
    the others; layers better left dense are. Form "pivot" has fewer numbers at the same rank. The method is this
    project's own; truncation in a metric of the loss, without budgets or pivots, goes back to Hsu et al. (2022).
    """

    name = "two_sided_low_rank"
    paper = "https://arxiv.org/abs/1503.05671"
    stochastic = True
    weighs_outputs = True
    repairs_mean = True

    form: str = param("pivot", FORM_DOC, choices=FORMS)
    allocation: str = param("global", ALLOCATION_DOC, choices=ALLOCATIONS)
    damp: float = param(0.01, "damping of the outputs' worth, as a share of its mean", above=0, at_most=10)

    @property
    def damping(self) -> float:
        """As the setting says."""
        return self.damp

    @property
    def key(self) -> Hashable:
        """The damping."""
        return self.damp

    def product(self, weight: Tensor, gram: Gram, importance: Importance, seed: int = 0) -> Product:
        """Projections on the principal directions of the outputs, each output at its worth."""
        from prunebench_methods.low_rank.informed_math import principal_product

        return principal_product(weight, gram, importance, centred=self.is_centred)
