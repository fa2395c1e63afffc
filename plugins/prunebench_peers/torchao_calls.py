"""Calls of torchao."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from prunebench import NotApplicable, Task, stored_byte_count
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry, register_flop_formula
from torchao.quantization import (
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    PerAxis,
    PerGroup,
    quantize_,
)

from prunebench_peers.adapters import handed
from prunebench_peers.packing import fitting, packed_size

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
    return _with(network, handed(task, "fc", replaced=True), SCHEMES[scheme]())


def few_bits(network: nn.Module, task: Task, bits: int, group: int) -> nn.Module:
    """`network` with linear layers of few bits; raises `NotApplicable` where no layer consists of whole groups."""
    names = fitting(handed(task, "fc", replaced=True), network, task, group)
    width = PerGroup(group) if group else PerAxis(0)
    return _with(network, names, IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=width))


def packed_bytes(network: nn.Module, bits: int) -> dict[str, int]:
    """Bytes by format: `packed` has each number in `bits` bits and no zero points, which are the middle."""
    layers: list[Any] = [layer for layer in network.modules() if isinstance(layer, QuantizedLinear)]
    saved = sum(layer.qdata.numel() - packed_size(layer.qdata.numel(), bits) for layer in layers)
    zeros: list[Tensor] = [layer.zero_point for layer in layers if not layer.zero_point.any()]
    saved += sum(zero.numel() * zero.element_size() for zero in zeros)
    return {"packed": stored_byte_count(network) - saved} if layers else {}


def _with(network: nn.Module, names: list[str], config: Any) -> nn.Module:
    dtype = network.get_submodule(names[0]).weight.dtype
    if dtype not in DTYPES:
        raise NotApplicable(f"torchao quantizes 16 and 32-bit floats, not {str(dtype).removeprefix('torch.')}")
    network.requires_grad_(False)  # torchao reads scales as Python numbers, which autograd warns of
    for name in names:
        holder = nn.Sequential(network.get_submodule(name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_(holder, config)
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
