"""What methods that zero single weights have in common: the fields, the exact count, the bytes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.shared.exact import kept_count
from prunebench_methods.shared.layer_shares import erdos_renyi_counts
from prunebench_methods.shared.selection import SECTIONS, refusals

if TYPE_CHECKING:
    from torch import Tensor, nn

SCOPES = ("layer", "global")
SPREAD = (*SCOPES, "erk")
SPREAD_DOC = (
    "the share is of every weight tensor; of all together; or of all, spread by shapes (erk: Evci et al., 2020: "
    "Erdős–Rényi with kernels, after Mocanu et al., 2018)"
)


def weight_refusals(shapes: Sequence[LayerShape], section: str) -> dict[str, str]:
    """Layer name -> why its weights are not changed, or "".

    How often a layer is used does not matter to its zeros, nor whether the network reads them itself.
    """
    return refusals([replace(layer, called=1, read_outside=False) for layer in shapes], section)


def replacement_refusals(shapes: Sequence[LayerShape], section: str) -> dict[str, str]:
    """Layer name -> why no other layer may take its place, or "": how often it is used does not matter."""
    return refusals([replace(layer, called=1) for layer in shapes], section)


def masked_counts(shapes: Sequence[LayerShape], section: str, keep: float) -> list[LayerCounts]:
    """Counts when `ceil(keep * n)` of every weight tensor's n entries survive; a mask alone saves no MACs."""
    reasons = weight_refusals(shapes, section)
    return [masked(layer, reasons[layer.name], kept_count(keep, layer.weight_count)) for layer in shapes]


def evenly_masked_counts(shapes: Sequence[LayerShape], section: str, keep: float) -> list[LayerCounts]:
    """Counts with the exact total of a global mask, `ceil(keep * n)` of all n weights, in even shares."""
    reasons = weight_refusals(shapes, section)
    counts, before = [], 0
    for layer in shapes:
        after = before if reasons[layer.name] else before + layer.weight_count
        counts.append(masked(layer, reasons[layer.name], kept_count(keep, after) - kept_count(keep, before)))
        before = after
    return counts


def _erk_counts(shapes: Sequence[LayerShape], section: str, keep: float) -> list[LayerCounts]:
    reasons = weight_refusals(shapes, section)
    chosen = [layer for layer in shapes if not reasons[layer.name]]
    kept = dict(zip((layer.name for layer in chosen), erdos_renyi_counts(chosen, keep), strict=True))
    return [masked(layer, reasons[layer.name], kept.get(layer.name, 0)) for layer in shapes]


def masked(layer: LayerShape, reason: str, kept: int) -> LayerCounts:
    """Counts of a layer of whose weights `kept` survive, or of one that is left alone for a reason."""
    if reason:
        return LayerCounts.unchanged(layer, reason)
    nonzero = layer.parameter_count - layer.weight_count + kept
    return LayerCounts(layer.name, layer.parameter_count, nonzero, layer.mac_count)


@dataclass(frozen=True)
class Mask(Method):
    """Zeros all but exactly `ceil(keep * n)` weights, of every weight tensor or of all of them; biases stay."""

    keep: float = param(0.1, "share of the weights that survive", above=0, at_most=1)
    scope: str = param("layer", SPREAD_DOC, choices=SPREAD)
    section: str = param("all", "layers that are masked", choices=SECTIONS)

    knob = "keep"
    loosest = {"keep": 1.0}

    @abstractmethod
    def scores(self, weights: list[Tensor], task: Task) -> list[Tensor]:
        """One score a weight: the highest survive, the first of equals before the later."""

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with its lowest scored weights set to zero, in place."""
        from prunebench_methods.shared import masking

        layers = masking.writable_layers(network, task, weight_refusals(task.shapes, self.section))
        weights = [layer.weight.detach() for layer in layers.values()]
        if self.scope == "layer":  # one after another: the scores of a large network are as large as it is
            scored = (self.scores([weight], task) for weight in weights)
            masking.apply(layers, (masking.layer_masks(one, self.keep)[0] for one in scored), task)
            return network
        scores = self.scores(weights, task)
        if self.scope == "erk":
            chosen = [shape for shape in task.shapes if shape.name in layers]
            masks = map(masking.highest, scores, erdos_renyi_counts(chosen, self.keep))
            masking.apply(layers, masks, task)
            return network
        masking.apply(layers, masking.global_masks(scores, self.keep), task)
        return network

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Exact by layer; of a global share only the total is known before, and it is spread evenly over the layers."""
        if self.scope == "erk":
            return _erk_counts(shapes, self.section, self.keep)
        spread = masked_counts if self.scope == "layer" else evenly_masked_counts
        return spread(shapes, self.section, self.keep)

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes dense, as bitmap and survivors, and with relative indices (`storage_formats`)."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
