"""Weight sharing: few distinct values per layer, found by k-means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import masked_counts, weight_refusals
from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import nn

STARTS = ("linear", "density", "random")


@dataclass(frozen=True)
class KMeans(Method):
    """Let the weights of a layer share the values of a codebook (Gong et al., 2014; Han, Mao, Dally, 2016).

    A weight that is exactly zero stays so: zero is no cluster but one value more, and does not train. The protocol's
    fine-tuning trains the codebook, never single weights. Parameters and MACs stay: what shrinks is the bytes.
    """

    name = "kmeans"
    paper = "https://arxiv.org/abs/1510.00149"
    stochastic = True
    trains = True

    clusters: int = param(32, "values in a layer's codebook, beside zero", at_least=1, at_most=65536)
    start: str = param("linear", "where the first centres are: evenly by value, by rank, or drawn", choices=STARTS)
    section: str = param("all", "layers whose weights share values", choices=SECTIONS)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with shared weights, in place, its codebooks fine-tuned by the protocol's recipe."""
        from prunebench_methods.quantization import sharing
        from prunebench_methods.shared import masking

        layers = masking.writable_layers(network, task, weight_refusals(task.shapes, self.section))
        sharing.share(layers, dict.fromkeys(layers, self.clusters), self.start, task)
        task.fit(network)
        sharing.fold(layers)
        return network

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Every weight stays one."""
        return masked_counts(shapes, self.section, 1.0)

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`): `ceil(log2 k)` bits per weight and the codebook, or Huffman coded."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
