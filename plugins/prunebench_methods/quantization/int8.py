"""8-bit integers, stored and computed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import masked, replacement_refusals
from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Int8(Method):
    """Weights and inputs of layers as 8-bit integers, multiplied by torch's integer kernels (Jacob et al., 2018).

    Weights symmetric by output channel, inputs with one scale and zero point a layer, from the range seen over the
    calibration samples; sums in 32 bits; results and everything between layers in floating point, where the paper
    stays in integers. A weight of zero stays zero. On the CPU only.
    """

    name = "int8"
    paper = "https://arxiv.org/abs/1712.05877"
    trains = True  # never after: integers do not train

    section: str = param("all", "layers that are quantized", choices=SECTIONS)
    finetune: bool = param(False, "fine-tune by the protocol's recipe before quantizing, for use after another method")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with integer layers in the places of linear layers and convolutions."""
        from prunebench_methods.quantization import int8_layers
        from prunebench_methods.shared import masking

        int8_layers.refuse_device(task.device)
        layers = masking.writable_layers(network, task, replacement_refusals(task.shapes, self.section))
        if self.finetune:
            task.fit(network)
        return int8_layers.quantized(network, layers, task)

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """A scale an output channel comes on top; weights that round to zero are not foreseen."""
        reasons = replacement_refusals(shapes, self.section)
        counted = [(shape, masked(shape, reasons[shape.name], shape.weight_count)) for shape in shapes]
        return [counts if counts.left_alone else _with_scales(counts, shape.out_channels) for shape, counts in counted]

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`), a byte a weight in `dense`."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)

    def exported(self, network: nn.Module) -> tuple[nn.Module, str]:
        """Floating-point layers with the weights that the integers stand for; the runtime's quantizer does the rest."""
        from prunebench_methods.quantization import int8_layers

        return int8_layers.in_floating_point(network), "int8"


def _with_scales(counts: LayerCounts, scales: int) -> LayerCounts:
    parameters, nonzero = counts.parameter_count + scales, counts.nonzero_parameter_count + scales
    return replace(counts, parameter_count=parameters, nonzero_parameter_count=nonzero)
