"""Principal components: of the weights as printed, of the activations as it works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.low_rank import SECTION_DOC, SKIP_LAST_DOC
from prunebench_methods.selection import SECTIONS, factor_counts, refusals, require_one, rounded_up, saves_nothing

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
        from prunebench_methods.pca_math import rotate_weights

        return rotate_weights(self, network, task)


@dataclass(frozen=True)
class ActivationPca(Method):
    """Project each layer's input onto its principal components over calibration data, as a narrow layer before it.

    The sound form of Ravan and Ebanks, 2024, Algorithm 2: components of the activations after the nonlinearity, folded
    into the next layer, the mean into its bias. Convolutions get a 1 x 1 convolution of their input channels before
    them; where they pad or have no bias, the components are those of the uncentred second moment.
    """

    name = "activation_pca"
    paper = "https://yravan.github.io/projects/18065"
    knob = "rank_ratio"
    example = {"rank_ratio": 0.25}
    loosest = {"rank_ratio": 1.0, "even_if_larger": True}

    variance: float | None = param(None, "share of the input's variance kept", above=0, at_most=1)
    rank: int | None = param(None, "components kept of every input", at_least=1)
    rank_ratio: float | None = param(None, "components kept, as a share of the input's channels", above=0, at_most=1)
    section: str = param("all", SECTION_DOC, choices=SECTIONS)
    round_to: int = param(1, "ranks are rounded up to a multiple of this", at_least=1)
    skip_last: bool = param(False, SKIP_LAST_DOC)
    even_if_larger: bool = param(False, "project also where that saves no weights")

    def check(self) -> None:
        """Exactly one way to choose the rank."""
        require_one(variance=self.variance, rank=self.rank, rank_ratio=self.rank_ratio)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by a projection and a narrower layer; those that would not shrink stay."""
        from prunebench_methods.pca_math import project_inputs

        return project_inputs(self, network, task)

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone, as far as the settings decide; empty for those to be projected."""
        found = refusals(shapes, self.section, grouped=False, skip_last=self.skip_last)
        if self.variance is None and not self.even_if_larger:
            return {s.name: found[s.name] or no_saving(self.rank_of(s), s) for s in shapes}
        return found

    def rank_of(self, shape: LayerShape) -> int:
        """The rank that `rank` or `rank_ratio` asks for, rounded, within the input's channels."""
        wanted = self.rank if self.rank is not None else round((self.rank_ratio or 1.0) * shape.in_channels)
        return rounded_up(wanted, self.round_to, shape.in_channels)

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """r(m + n) weights for a linear m x n layer; None when the variance decides."""
        why = self.reasons(shapes)
        if self.variance is not None or not all(why[s.name] or has_closed_form(s) for s in shapes):
            return None
        return [
            LayerCounts.unchanged(s, why[s.name])
            if why[s.name]
            else projection_counts(s, self.rank_of(s), centred=True)
            for s in shapes
        ]


def has_closed_form(shape: LayerShape) -> bool:
    """Whether the shape tells the resolution at which a projection of its input works."""
    return shape.kind == "linear" or shape.input_size is not None


def projection_counts(shape: LayerShape, rank: int, *, centred: bool) -> LayerCounts:
    """What a layer behind a projection of its input on `rank` components leaves; `centred` gives linear ones a bias."""
    if shape.kind == "linear":
        return factor_counts(shape, rank, outer_bias=centred)
    assert shape.input_size is not None
    before = rank * shape.in_channels
    after = shape.out_channels * rank * shape.kernel[0] * shape.kernel[1]
    stored = before + after + (shape.out_channels if shape.bias else 0)
    macs = before * shape.input_size[0] * shape.input_size[1] + after * shape.positions
    return LayerCounts(shape.name, stored, stored, macs, rank)


def no_saving(rank: int, shape: LayerShape) -> str:
    """The reason not to project the input on `rank` components, or an empty string."""
    if shape.kind == "linear":
        return saves_nothing(rank, shape)
    area = shape.kernel[0] * shape.kernel[1]
    limit = (shape.weight_count - 1) // (shape.in_channels + shape.out_channels * area)
    return "" if rank <= limit else f"rank {rank} saves nothing here: break-even is {limit}"
