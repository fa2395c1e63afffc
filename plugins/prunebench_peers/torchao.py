"""torchao: linear layers in integers of 8 and of few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Method, Task, param

from prunebench_peers.adapters import adapter

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TorchaoInt8(Method):
    """torchao's `quantize_`: linear layers with 8-bit weights, and with 8-bit inputs where asked for.

    Convolutions stay as they are, which is torchao's own choice. Its quantized tensors are kept as plain codes and
    scales and put together again at every call, so that they can be counted, stored and copied.
    """

    name = "peer_torchao_int8"
    paper = "https://github.com/pytorch/ao"
    trains = True  # never after: integers do not train

    scheme: str = param("weights", "what is quantized", choices=("weights", "weights_and_inputs"))

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with quantized linear layers."""
        calls = adapter("torchao_calls", "torchao")
        quantized: nn.Module = calls.quantized(network, task, self.scheme)
        return quantized


@dataclass(frozen=True)
class TorchaoInt4(Method):
    """torchao's `quantize_` with `IntxWeightOnlyConfig`: linear layers with weights of 4 bits, or 2 to 8.

    Zero is the middle of the numbers. Weights become floating-point numbers again at every call, which is how torchao
    computes with them where it has no kernel of a card. Convolutions stay as they are, which is torchao's own choice.
    """

    name = "peer_torchao_int4"
    paper = "https://github.com/pytorch/ao"
    trains = True  # never after: integers do not train

    bits: int = param(4, "bits of a weight", at_least=2, at_most=8, unit="bit")
    group: int = param(0, "inputs of a row that share a scale; 0 for the whole row", at_least=0)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with quantized linear layers."""
        calls = adapter("torchao_calls", "torchao")
        quantized: nn.Module = calls.few_bits(network, task, self.bits, self.group)
        return quantized

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes with packed numbers, without the zero points, which are all zero."""
        found: dict[str, int] = adapter("torchao_calls", "torchao").packed_bytes(network, self.bits)
        return found


METHODS: list[type[Method]] = [TorchaoInt8, TorchaoInt4]
