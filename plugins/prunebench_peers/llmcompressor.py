"""llmcompressor: GPTQ, AWQ and SparseGPT as its users run them, on linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench import Method, Task, param

from prunebench_peers.adapters import adapter

if TYPE_CHECKING:
    from torch import nn

HOME = "https://github.com/vllm-project/llm-compressor"
EXTRA = "peers-llm"


def _calls() -> Any:
    return adapter("llmcompressor_calls", "llmcompressor", EXTRA)


@dataclass(frozen=True)
class _Weights(Method):
    """Weights of linear layers as whole numbers of few bits, which are multiplied in floating point."""

    paper = HOME
    trains = True  # never after: whole numbers do not train

    bits: int = param(4, "bits of a weight", at_least=2, at_most=8, unit="bit")
    group: int = param(0, "inputs of a row that share a scale; 0 for the whole row", at_least=0)
    symmetric: bool = param(False, "whether zero is the middle of the numbers, so that no zero points are stored")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with rounded linear layers."""
        rounded: nn.Module = _calls().rounded(network, task, self)
        return rounded

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes with packed numbers and zero points, and with scales as they are."""
        from prunebench_peers.packing import packed_bytes

        return packed_bytes(network, self.bits)


@dataclass(frozen=True)
class LlmcompressorGptq(_Weights):
    """llmcompressor's `GPTQModifier`, with inputs of the dense network.

    Blocks, damping and the order of columns are its defaults. Its pipeline `sequential`, in which a block reads what
    the rounded ones before it answer, takes networks of transformers alone. Convolutions stay as they are.
    """

    name = "peer_llmcompressor_gptq"


@dataclass(frozen=True)
class LlmcompressorAwq(_Weights):
    """llmcompressor's `AWQModifier` and then its `QuantizationModifier`, with inputs of the dense network.

    What goes before a layer takes the sizes of its inputs: a block's norms before queries, keys and values and before
    the MLP's first layers, values before the output, the MLP's upper layer before its lower one, where shapes allow.
    It needs to know these parts of the network. The search for scales has its defaults.
    """

    name = "peer_llmcompressor_awq"


@dataclass(frozen=True)
class LlmcompressorSparseGpt(Method):
    """llmcompressor's `SparseGPTModifier`, with inputs of the dense network.

    Blocks and damping are its defaults. Of every block of columns it removes one weight more than the share says.
    """

    name = "peer_llmcompressor_sparsegpt"
    paper = HOME

    sparsity: float = param(0.5, "share of a layer's weights that become zero; 0.5 for 2:4 and 4:8", above=0, below=1)
    pattern: str = param("layer", "where they become zero", choices=("layer", "2:4", "4:8"))

    def check(self) -> None:
        """A pattern of groups says the share itself."""
        if self.pattern != "layer" and self.sparsity != 0.5:
            raise ValueError(f"pattern {self.pattern} removes half of the weights: sparsity must be 0.5")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with zeros in its linear layers and the other weights corrected."""
        sparse: nn.Module = _calls().sparse(network, task, self)
        return sparse


METHODS: list[type[Method]] = [LlmcompressorGptq, LlmcompressorAwq, LlmcompressorSparseGpt]
