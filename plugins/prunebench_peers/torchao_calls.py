"""Calls of torchao."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from prunebench import NotApplicable, Task
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry, register_flop_formula
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

from prunebench_peers.adapters import handed

SCHEMES: dict[str, Any] = {
    "weights": Int8WeightOnlyConfig,
    "weights_and_inputs": Int8DynamicActivationInt8WeightConfig,
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class QuantizedLinear(nn.Module):
    """A linear layer whose weight is one of torchao's tensors, kept as the plain tensors that it consists of."""

    def __init__(self, quantized: nn.Linear) -> None:
        super().__init__()
        weight = quantized.weight.detach()
        self.kind: Any = type(weight)
        self.parts, self.context = weight.__tensor_flatten__()  # type: ignore[attr-defined]
        self.size, self.steps = weight.size(), weight.stride()
        for part in self.parts:
            self.register_buffer(part, getattr(weight, part).detach().clone())
        self.bias = quantized.bias

    def quantized_weight(self) -> Tensor:
        """torchao's tensor (out, in), its parts shared with this module."""
        parts = {part: getattr(self, part) for part in self.parts}
        whole: Tensor = self.kind.__tensor_unflatten__(parts, self.context, self.size, self.steps)
        return whole

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) to (…, out) by torchao's kernels."""
        return nn.functional.linear(input, self.quantized_weight(), self.bias)


def quantized(network: nn.Module, task: Task, scheme: str) -> nn.Module:
    """`network` with linear layers quantized by torchao; raises `NotApplicable` for a dtype it does not take."""
    _teach_flop_counter()
    names = handed(task, "fc", replaced=True)
    dtype = network.get_submodule(names[0]).weight.dtype
    if dtype not in DTYPES:
        raise NotApplicable(f"torchao quantizes 16 and 32-bit floats, not {str(dtype).removeprefix('torch.')}")
    network.requires_grad_(False)  # torchao reads scales as Python numbers, which autograd warns of
    for name in names:
        holder = nn.Sequential(network.get_submodule(name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_(holder, SCHEMES[scheme]())
        network.set_submodule(name, QuantizedLinear(holder[0]))  # type: ignore[arg-type]
    return network


@cache
def _teach_flop_counter() -> None:
    """Tell torch's counter what an integer product costs, once per process, where it does not know."""
    product = torch.ops.aten._int_mm
    if product in flop_registry:
        return

    @register_flop_formula(product)
    def _integer_product(a: Sequence[int], b: Sequence[int], *facts: Any, **options: Any) -> int:
        return 2 * a[0] * a[1] * b[1]
