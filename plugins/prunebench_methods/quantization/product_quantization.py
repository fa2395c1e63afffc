"""Product quantization: pieces of rows from small dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import masked, weight_refusals
from prunebench_methods.shared.exact import VALUE_BYTES, quantized_byte_count
from prunebench_methods.shared.selection import SECTIONS, matrix_shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ProductQuantization(Method):
    """Cut the columns of a weight into groups and replace each group's rows by the nearest of k (Gong et al., 2014).

    A convolution is quantized as its (out, in·kh·kw) matrix, which the paper does not do. The protocol's fine-tuning
    trains the dictionaries, which the paper does not do either. Parameters and MACs stay: what shrinks is the bytes.
    """

    name = "product_quantization"
    paper = "https://arxiv.org/abs/1412.6115"
    stochastic = True
    trains = True

    clusters: int = param(16, "dictionary entries of a group of columns", at_least=1, at_most=65536)
    width: int = param(2, "columns of a group; the last may be narrower", at_least=1)
    section: str = param("fc", "layers that are quantized", choices=SECTIONS)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with quantized rows, in place, its dictionaries fine-tuned by the protocol's recipe."""
        from prunebench_methods.quantization import dictionaries
        from prunebench_methods.shared import masking

        reasons = self._refusals(task.shapes)
        layers = masking.writable_layers(network, task, reasons)
        dictionaries.quantize(layers, self.clusters, self.width, task)
        task.fit(network)
        dictionaries.fold(layers)
        return network

    def _refusals(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        reasons = weight_refusals(shapes, self.section)
        return {shape.name: reasons[shape.name] or self._saves_nothing(shape) for shape in shapes}

    def _saves_nothing(self, shape: LayerShape) -> str:
        rows, columns = _matrix(shape)
        if self.clusters >= rows:
            return f"{self.clusters} clusters save nothing for {rows} rows"
        size = quantized_byte_count(rows, columns, self.width, self.clusters)
        dense = VALUE_BYTES * rows * columns
        return "" if size < dense else f"{size:,} bytes save nothing here: dense has {dense:,}"

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Every weight stays one."""
        reasons = self._refusals(shapes)
        return [masked(shape, reasons[shape.name], shape.weight_count) for shape in shapes]

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes with dictionaries, as `codebook`, in the layers that are quantized; nothing where none is."""
        from prunebench_methods.quantization.dictionaries import saved_byte_count
        from prunebench_methods.shared.storage import dense_byte_count

        dense, saved = dense_byte_count(network), saved_byte_count(network, self.clusters, self.width)
        return {"dense": dense, "codebook": dense - saved} if saved else {"dense": dense}


def _matrix(shape: LayerShape) -> tuple[int, int]:
    """(out, in·kh·kw) of all groups of a convolution together."""
    rows, columns = matrix_shape(shape)
    return rows * shape.groups, columns
