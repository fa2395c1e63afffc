"""What methods that zero single weights have in common: the fields, the exact count, the bytes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.exact import kept_count
from prunebench_methods.sections import SECTIONS, why_left_alone

if TYPE_CHECKING:
    from torch import Tensor, nn

SCOPES = ("layer", "global")


def masked_counts(shapes: Sequence[LayerShape], section: str, keep: float) -> list[LayerCounts]:
    """Counts when `ceil(keep * n)` of every weight tensor's n entries survive; a mask alone saves no MACs."""
    return [_masked_layer(layer, why_left_alone(layer, section), keep) for layer in shapes]


def _masked_layer(layer: LayerShape, reason: str, keep: float) -> LayerCounts:
    if reason:
        return LayerCounts.unchanged(layer, reason)
    nonzero = layer.parameter_count - layer.weight_count + kept_count(keep, layer.weight_count)
    return LayerCounts(layer.name, layer.parameter_count, nonzero, layer.mac_count)


@dataclass(frozen=True)
class Mask(Method):
    """Zeros all but exactly `ceil(keep * n)` weights, of every weight tensor or of all of them; biases stay."""

    keep: float = param(0.1, "share of the weights that survive", above=0, at_most=1)
    scope: str = param("layer", "the share is of every weight tensor, or of all together", choices=SCOPES)
    section: str = param("all", "layers that are masked", choices=SECTIONS)

    knob = "keep"
    loosest = {"keep": 1.0}

    @abstractmethod
    def scores(self, weights: list[Tensor], task: Task) -> list[Tensor]:
        """One score a weight: the highest survive, the first of equals before the later."""

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with its lowest scored weights set to zero, in place."""
        from prunebench_methods import masking

        layers = masking.maskable(network, task, self.section)
        weights = [module.weight.detach() for module in layers.values()]
        choose = masking.global_masks if self.scope == "global" else masking.layer_masks
        masking.apply(layers, choose(self.scores(weights, task), self.keep), task)
        return network

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Closed form by layer; how a global share falls on the layers is decided by the weights."""
        return None if self.scope == "global" else masked_counts(shapes, self.section, self.keep)
