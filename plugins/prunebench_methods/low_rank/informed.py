"""What factorizations have in common that look at data: a share of the weights, two forms, exact counts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.low_rank.forms import (
    FORM_DOC,
    FORMS,
    KEEP_DOC,
    product_counts,
    rank_within,
    saves_nothing,
)
from prunebench_methods.low_rank.low_rank import SECTION_DOC, SKIP_LAST_DOC
from prunebench_methods.shared.allocation import allocation_param
from prunebench_methods.shared.selection import (
    SECTIONS,
    full_rank,
    gain_batch_param,
    min_gain_param,
    refusals,
    require_one,
    too_wide,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prunebench_methods.low_rank.informed_math import Product
    from prunebench_methods.shared.grams import Gram
    from prunebench_methods.shared.importance import Importance


@dataclass(frozen=True)
class InformedProduct(Method):
    """Replaces layers by products of low rank that the dense network's data decide, all layers by themselves."""

    keep: float | None = param(None, KEEP_DOC, above=0, at_most=1)
    rank: int | None = param(None, "components kept in every layer", at_least=1)
    form: str = param("factors", FORM_DOC, choices=FORMS)
    section: str = param("all", SECTION_DOC, choices=SECTIONS)
    round_to: int = param(1, "ranks are rounded down to a multiple of this, if that leaves any", at_least=1)
    skip_last: bool = param(False, SKIP_LAST_DOC)
    even_if_larger: bool = param(False, "factorize also where the product is no smaller than the layer")
    allocation: str = allocation_param()
    min_gain: float | None = min_gain_param()
    gain_batch: int = gain_batch_param()

    knob = "keep"
    example = {"keep": 0.5}
    loosest = {"keep": 1.0}
    weighs_outputs: ClassVar[bool] = False  # whether `product` needs the importance of a layer's outputs
    repairs_mean: ClassVar[bool] = False
    energies_are_losses: ClassVar[bool] = True  # of outputs, or of the loss where outputs are weighed

    def check(self) -> None:
        """One way to choose the rank; a budget is a share."""
        require_one(keep=self.keep, rank=self.rank)
        if self.allocation != "uniform" and self.keep is None:
            raise ValueError(
                f'allocation "{self.allocation}" needs `keep`, the share of all weights: with `rank` take "uniform"'
            )
        if self.allocation == "global" and not self.energies_are_losses:
            raise ValueError(f'{self.name} does not know what a component costs: no allocation "global"')

    @property
    def measures(self) -> bool:
        """With `min_gain` the times of layers."""
        return self.min_gain is not None

    @property
    def is_centred(self) -> bool:
        """Whether the inputs' mean is answered exactly, by the bias."""
        return self.repairs_mean

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by products; those that would not shrink stay."""
        from prunebench_methods.low_rank.informed_math import factorize_layers

        return factorize_layers(self, network, task)

    @abstractmethod
    def product(self, weight: Tensor, gram: Gram, importance: Importance, seed: int = 0) -> Product:
        """The best products of all ranks at once, from the dense weight (m, n); `seed` is for a control."""

    def refused(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it may not be changed, whatever the rank."""
        found = refusals(shapes, self.section, grouped=False, skip_last=self.skip_last)
        return {s.name: found[s.name] or too_wide(s) for s in shapes}

    def rank_of(self, shape: LayerShape) -> int:
        """The rank that the settings ask for, the same share or number in all layers; 0 where none is allowed."""
        if self.rank is not None:
            return min(self.rank, full_rank(shape))
        return rank_within(shape, self.keep or 1.0, self.form, self.round_to)

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone, as far as the settings decide; empty for those to be factorized."""
        found = self.refused(shapes)
        if self.even_if_larger:
            return {s.name: found[s.name] or ("" if self.rank_of(s) else "no rank is small enough") for s in shapes}
        if self.keep == 1:
            return {name: why or "all of its weights are kept" for name, why in found.items()}
        return {s.name: found[s.name] or saves_nothing(s, self.rank_of(s), self.form) for s in shapes}

    @property
    def damping(self) -> float:
        """Of the importance of outputs, as a share of its mean."""
        return 0.1

    @property
    def key(self) -> Hashable:
        """What of the settings decides `product`."""
        return self.is_centred

    def at(self, keep: float) -> InformedProduct:
        """The method for one layer that may be changed, with this share."""
        return replace(self, keep=keep, allocation="uniform", skip_last=False)

    @property
    def is_uniform(self) -> bool:
        """Whether the settings alone decide the ranks."""
        return self.allocation == "uniform"

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """r(m + n) weights for an m x n layer, or r(m + n - r) in pivot form; None where data or times decide."""
        if not self.is_uniform or self.min_gain is not None:
            return None
        why, bias = self.reasons(shapes), self.is_centred
        return [
            LayerCounts.unchanged(s, why[s.name])
            if why[s.name]
            else product_counts(s, self.rank_of(s), self.form, outer_bias=bias)
            for s in shapes
        ]
