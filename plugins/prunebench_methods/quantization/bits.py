"""What methods have in common that round weights to grids of few bits: fields, closed forms, bytes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import masked, weight_refusals
from prunebench_methods.shared.selection import SECTIONS, matrix_shape, too_wide

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prunebench_methods.quantization.grids import Grid
    from prunebench_methods.shared.grams import Gram

DAMP_DOC = "damping, as a share of the inputs' mean square"


@dataclass(frozen=True)
class Bits(Method):
    """Rounds weights to 2**bits levels of a scale, and mostly a zero point, by row or by group of a row's inputs.

    The network computes in floating point with the rounded weights: no integer kernel is used, so that it is no faster.
    Rounded weights do not train any more; biases do. A layer holds its scales and zero points as the buffers
    `grid_scales` and `grid_zeros`, which count as parameters.
    """

    bits: int = param(4, "bits of a weight", at_least=2, at_most=8, unit="bit")
    group: int = param(0, "inputs of a row that share a scale; 0 for the whole row", at_least=0)
    section: str = param("all", "layers that are quantized", choices=SECTIONS)

    reads_inputs: ClassVar[bool] = False  # whether `grid` needs the Gram matrix of a layer's inputs
    has_zeros: ClassVar[bool] = True
    scales_inputs: ClassVar[bool] = False
    keeps_zeros: ClassVar[bool] = True  # whether a weight of zero stays so

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with rounded weights, in place."""
        from prunebench_methods.quantization.bits_math import quantize_layers

        return quantize_layers(self, network, task)

    @abstractmethod
    def grid(self, weight: Tensor, gram: Gram | None, place: int) -> tuple[Grid, Tensor]:
        """The grid of one group of channels and the codes (m, n) on it, from its dense weight (m, n).

        `gram` is that of the layer's inputs where the method reads them, and `place` the group in it.
        """

    @property
    def stores_zeros(self) -> bool:
        """Whether a group has a zero point of its own."""
        return self.has_zeros

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone; empty for those to be quantized."""
        found = weight_refusals(shapes, self.section)
        return {s.name: found[s.name] or self._refusal(s) for s in shapes}

    def _refusal(self, shape: LayerShape) -> str:
        columns = matrix_shape(shape)[1]
        if self.group and columns % self.group:
            return f"its {columns:,} inputs are no multiple of the group's {self.group}"
        return too_wide(shape) if self.reads_inputs else ""

    def group_count(self, shape: LayerShape) -> int:
        """Scales of the layer."""
        columns = matrix_shape(shape)[1]
        return shape.out_channels * (columns // self.group if self.group else 1)

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Every weight stays one; scales, zero points and input scales come on top."""
        why = self.reasons(shapes)
        counted = ((s, masked(s, why[s.name], s.weight_count)) for s in shapes)
        return [counts if why[s.name] else self._with_grid(counts, s) for s, counts in counted]

    def _with_grid(self, counts: LayerCounts, shape: LayerShape) -> LayerCounts:
        extra = self.group_count(shape) * (2 if self.stores_zeros else 1)
        extra += shape.groups * matrix_shape(shape)[1] if self.scales_inputs else 0
        stored, nonzero = counts.parameter_count + extra, counts.nonzero_parameter_count + extra
        return replace(counts, parameter_count=stored, nonzero_parameter_count=nonzero)

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes with packed codes, scales of 16 bits and packed zero points; and with a bitmap of the zeros."""
        from prunebench_methods.quantization.grids import packed_byte_counts

        return packed_byte_counts(network, self.bits)
