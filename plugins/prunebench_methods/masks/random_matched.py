"""Random pruning with another method's share of every layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, NotApplicable, PruneBenchError, Task, param

from prunebench_methods.masks.mask import SCOPES, masked_counts, weight_refusals
from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class RandomMatched(Method):
    """Zero random weights, in every layer as many as another method does (Blalock et al., 2020, appendix).

    Tells what a method gains by choosing weights from what it gains by choosing layers.
    """

    name = "random_matched"
    paper = "https://arxiv.org/abs/2003.03033"
    stochastic = True
    control = True
    knob = "keep"
    loosest = {"keep": 1.0}

    of: str = param("magnitude", "the method whose share of every layer is taken over")
    keep: float = param(0.1, "that method's `keep`", above=0, at_most=1)
    scope: str = param("global", "that method's `scope`, where it has one", choices=SCOPES)
    section: str = param("all", "that method's `section`, where it has one", choices=SECTIONS)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Let the other method prune a copy, count its zeros by layer, and mask `network` at random."""
        from prunebench_methods.shared import masking

        layers = masking.writable_layers(network, task, weight_refusals(task.shapes, self.section))
        example = self._example(task).prune(copy.deepcopy(network), task)
        counts = masking.survivor_counts(example, layers, self.of)
        scores = masking.random_scores([layer.weight for layer in layers.values()], task.generator, together=False)
        masking.apply(layers, map(masking.highest, scores, counts), task)
        return network

    def _example(self, task: Task) -> Method:
        """The other method with those of the settings that it knows."""
        try:
            known = {field.name for field in fields(task.method(self.of, keep=self.keep))}
        except PruneBenchError as error:
            raise NotApplicable(f"random masks match the share `keep` of a method: {error}") from None
        mine: dict[str, float | str] = {"keep": self.keep, "scope": self.scope, "section": self.section}
        return task.method(self.of, **{name: value for name, value in mine.items() if name in known})

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Closed form where it is that of `magnitude` by layer; otherwise the other method's weights decide."""
        is_known = self.of in ("magnitude", "random") and self.scope == "layer"
        return masked_counts(shapes, self.section, self.keep) if is_known else None

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`)."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
