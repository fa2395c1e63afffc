"""Principal components: of the weights as printed, of the activations as it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Method, Task, param

from prunebench_methods.low_rank.low_rank import SECTION_DOC
from prunebench_methods.low_rank.projection import InputProjection
from prunebench_methods.shared.selection import SECTIONS, require_one

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class WeightPca(Method):
    """Rotate each layer's outputs onto the principal components of its weights, and the next layer's inputs with them.

    Ravan and Ebanks, 2024, Algorithm 2, as their code has it: the components are those of the layer as it was,
    the last layer only follows the one before, at least one component stays. Sound only between linear layers without
    an activation: with one, the rotation does not pass through it and the result is flagged invalid.
    """

    name = "pca"
    paper = "https://yravan.github.io/projects/18065"

    variance: float = param(
        0.9, "share of the squared singular values of the centred weights kept", at_least=0, at_most=1
    )

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The same chain of linear layers, narrower; declines anything that is not such a chain."""
        from prunebench_methods.low_rank.pca_math import rotate_weights

        return rotate_weights(self, network, task)


@dataclass(frozen=True)
class ActivationPca(InputProjection):
    """Project each layer's input onto its principal components over calibration data, as a narrow layer before it.

    The sound form of Ravan and Ebanks, 2024, Algorithm 2: components of the activations after the nonlinearity, folded
    into the next layer, the mean into its bias. Convolutions get a 1 x 1 convolution of their input channels before
    them; where they pad or have no bias, the components are those of the uncentred second moment.
    """

    name = "activation_pca"
    paper = "https://yravan.github.io/projects/18065"

    section: str = param("all", SECTION_DOC, choices=SECTIONS)
    variance: float | None = param(None, "share of the input's variance kept", above=0, at_most=1)

    def check(self) -> None:
        """Exactly one way to choose the rank."""
        require_one(variance=self.variance, rank=self.rank, rank_ratio=self.rank_ratio, keep=self.keep)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by a projection and a narrower layer; those that would not shrink stay."""
        from prunebench_methods.low_rank.pca_math import project_inputs

        return project_inputs(self, network, task)

    @property
    def measured(self) -> bool:
        """Whether the variance decides."""
        return self.variance is not None
