"""torchao: linear layers in 8-bit integers."""

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


METHODS: list[type[Method]] = [TorchaoInt8]
