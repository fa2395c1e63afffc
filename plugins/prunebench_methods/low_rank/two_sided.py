"""Low rank in the metric of the loss: what inputs are and what outputs are worth, and one budget for all layers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerShape, param

from prunebench_methods.low_rank.forms import FORM_DOC, FORMS
from prunebench_methods.low_rank.informed import InformedProduct
from prunebench_methods.low_rank.shares import shared_parameters

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.low_rank.importance import Importance
    from prunebench_methods.low_rank.informed_math import Product
    from prunebench_methods.shared.grams import Gram


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
    allocation: str = param(
        "global", "one share in all layers, or one budget shared in units of the loss", choices=("uniform", "global")
    )

    damp: float = param(0.01, "damping of the outputs' worth, as a share of its mean", above=0, at_most=10)

    def check(self) -> None:
        """One way to choose the rank; a budget is a share."""
        super().check()
        if self.allocation == "global" and self.keep is None:
            raise ValueError('allocation "global" needs `keep`, the share of all weights: with `rank` take "uniform"')

    @property
    def is_uniform(self) -> bool:
        """Whether the settings alone decide the ranks."""
        return self.allocation == "uniform"

    @property
    def damping(self) -> float:
        """As the setting says."""
        return self.damp

    @property
    def key(self) -> Hashable:
        """The damping."""
        return self.damp

    def product(self, weight: Tensor, gram: Gram, importance: Importance) -> Product:
        """Projections on the principal directions of the outputs, each output at its worth."""
        from prunebench_methods.low_rank.informed_math import principal_product

        return principal_product(weight, gram, importance, centred=self.is_centred)

    def shares(
        self, shapes: Sequence[LayerShape], found: Callable[[str], Product]
    ) -> tuple[dict[str, int], dict[str, str]]:
        """Ranks by the settings, or such that all products together have `keep` of the layers' weights."""
        if self.is_uniform or self.keep is None:
            return super().shares(shapes, found)
        refused = self.refused(shapes)
        open_ = [s for s in shapes if not refused[s.name]]
        spectra = {s.name: (found(s.name).energies * s.positions).tolist() for s in open_}
        ranks = shared_parameters(open_, spectra, self.keep, self.form)
        kept = "the shared budget leaves it dense"
        reasons = {name: why or ("" if ranks[name] else kept) for name, why in refused.items()}
        return {name: rank for name, rank in ranks.items() if rank}, reasons
