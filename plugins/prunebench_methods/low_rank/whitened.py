"""The best low-rank product for the inputs that a layer sees, and two controls that know less of them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import param

from prunebench_methods.low_rank.informed import InformedProduct

if TYPE_CHECKING:
    from torch import Tensor

    from prunebench_methods.low_rank.informed_math import Product
    from prunebench_methods.shared.grams import Gram
    from prunebench_methods.shared.importance import Importance


@dataclass(frozen=True)
class WhitenedSvd(InformedProduct):
    """Truncated SVD of the weight times a root of its inputs' second moment, the root undone after (Wang et al., 2025).

    What the outputs lose is exactly the sum of the squared singular values that are cut off. Computed without an
    inverse, as a projection of the outputs on their principal directions, so that inputs may be dead or dependent, and
    samples few. `centred` (not in the paper) takes the inputs' covariance and lets the bias answer their mean. No layer
    loses more by it on the calibration data; but all layers of a language model together may, so take false there, as
    the paper does. Inputs are those of the dense network, as the paper has them. Centred, it is
    `data_aware_low_rank` with asymmetric = false and importance = "alike".
    """

    name = "whitened_svd"
    paper = "https://arxiv.org/abs/2403.07378"

    centred: bool = param(True, "fit deviations from the inputs' mean, which the bias answers")

    @property
    def is_centred(self) -> bool:
        """As the setting says."""
        return self.centred

    def product(self, weight: Tensor, gram: Gram, importance: Importance, seed: int = 0) -> Product:
        """Projections on the principal directions of the outputs."""
        from prunebench_methods.low_rank.informed_math import principal_product

        return principal_product(weight, gram, importance, centred=self.centred)


@dataclass(frozen=True)
class Asvd(InformedProduct):
    """Truncated SVD of the weight with its columns times a power of their inputs' size (Yuan et al., 2023).

    A control for `whitened_svd`: it knows how large inputs are and not how they depend on each other. Departs from the
    authors' code in exact decompositions, in sizes as root mean squares, and in no search for ranks.
    """

    name = "asvd"
    paper = "https://arxiv.org/abs/2312.05821"

    energies_are_losses = False
    alpha: float = param(0.5, "power of the inputs' size", at_least=0, at_most=1)

    @property
    def key(self) -> Hashable:
        """The power."""
        return self.alpha

    def product(self, weight: Tensor, gram: Gram, importance: Importance, seed: int = 0) -> Product:
        """The scaled decomposition."""
        from prunebench_methods.low_rank.informed_math import scaled_product

        return scaled_product(weight, None, gram.diagonal()[0].sqrt().pow(self.alpha) + 1e-6)


@dataclass(frozen=True)
class FisherSvd(InformedProduct):
    """Truncated SVD of the weight with its rows times a root of their outputs' importance (Hsu et al., 2022).

    A control for `two_sided_low_rank`: it weighs outputs one by one and knows nothing of the inputs. Departs from the
    paper in the mean square of the gradient at an output, over the curvature of the loss, where the paper sums those
    of the row's weights over the labels: a row's inputs are the same for all.
    """

    name = "fisher_svd"
    paper = "https://arxiv.org/abs/2207.00112"
    stochastic = True
    weighs_outputs = True
    energies_are_losses = False

    @property
    def key(self) -> Hashable:
        """Nothing decides it."""
        return ()

    def product(self, weight: Tensor, gram: Gram, importance: Importance, seed: int = 0) -> Product:
        """The scaled decomposition."""
        from prunebench_methods.low_rank.informed_math import scaled_product

        return scaled_product(weight, importance.diagonal(weight).sqrt(), None)
