"""Deep compression: prune, share, code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import SCOPES, evenly_masked_counts, masked_counts, weight_refusals
from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class DeepCompression(Method):
    """Prune by magnitude, share the values that are left, Huffman code what remains (Han, Mao, Dally, 2016).

    The network is fine-tuned by the protocol's recipe after pruning, and its codebooks after sharing. Relative indices
    take 8 bits in convolutions and 5 in linear layers, with fillers. Departs in pruning an exact share, and in stating
    the bytes of every stage, code tables and codebooks included. Nothing of it computes faster.
    """

    name = "deep_compression"
    paper = "https://arxiv.org/abs/1510.00149"
    stochastic = True
    trains = True
    knob = "keep"

    keep: float = param(0.1, "share of the weights that survive", above=0, at_most=1)
    conv_bits: int = param(8, "bits of a shared value in convolutions", at_least=1, at_most=16)
    fc_bits: int = param(5, "bits of a shared value in linear layers", at_least=1, at_most=16)
    scope: str = param("layer", "the share is of every weight tensor, or of all together", choices=SCOPES)
    section: str = param("all", "layers that are compressed", choices=SECTIONS)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` pruned, shared and trained in place; the bytes after every stage are noted."""
        from prunebench_methods.quantization import deep_compression_math as stages
        from prunebench_methods.shared import masking

        layers = masking.writable_layers(network, task, weight_refusals(task.shapes, self.section))
        settings = stages.Settings(self.keep, self.conv_bits, self.fc_bits, self.scope)
        stages.compress(network, layers, settings, task)
        return network

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Those of `magnitude`: sharing changes no zero."""
        spread = evenly_masked_counts if self.scope == "global" else masked_counts
        return spread(shapes, self.section, self.keep)

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes of each stage: `relative` after pruning, `codebook` after sharing, `huffman` after coding."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
