"""ALPS: the mask and its weights chosen together, by splitting the problem."""

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
class Alps(InformedMask):
    """Alternate between the weights of least loss and the nearest masked ones until the mask stays (Meng et al., 2024).

    Then least squares on the mask (`masked_refit`). Departs from the authors' code in inputs of the dense network, not
    of layers already masked, and in adding the damping after inputs are scaled to one size, not before.
    """

    name = "alps"
    paper = "https://arxiv.org/abs/2406.07831"

    pattern: str = param("layer", PATTERN_DOC)
    damp: float = param(0.01, DAMP_DOC, at_least=1e-8, at_most=10)
    rounds: int = param(300, "alternations at most", at_least=1)

    def weights(self, weight: Tensor, gram: Gram, group: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """The fitted weight and its mask."""
        from prunebench_methods.masks.alps_math import alternated

        return alternated(weight, gram, group, self)
