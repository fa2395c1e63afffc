"""TensorLy-Torch: layers whose weight is a factorized tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from prunebench import Method, Task, param

from prunebench_peers.adapters import SECTIONS, adapter

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class _Factorized(Method):
    """Convolutions by `FactorizedConv.from_conv`, linear layers folded to tensors by `FactorizedLinear.from_linear`.

    A layer that it cannot represent is left alone: grouped, padded otherwise than with zeros, strides that differ,
    sides that are no product of `modes` numbers.
    """

    paper = "https://arxiv.org/abs/1610.09555"
    factorization: ClassVar[str] = ""
    linear_factorization: ClassVar[str] = ""  # the name that the library gives it for linear layers

    rank: float = param(0.25, "share of a layer's weights that the factors may hold", above=0, at_most=1)
    section: str = param("all", "layers that are factorized", choices=SECTIONS)
    modes: int = param(2, "tensor modes that each side of a linear layer is folded to", at_least=2, at_most=6)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with factorized layers."""
        calls = adapter("tensorly_torch_calls", "tensorly-torch")
        factorized: nn.Module = calls.factorized(network, task, self)
        return factorized


@dataclass(frozen=True)
class TltorchCp(_Factorized):
    """TensorLy-Torch's CP factorization of every layer's weight (Kossaifi et al., 2019; Lebedev et al., 2015)."""

    name = "peer_tltorch_cp"
    stochastic = True  # starts from drawn factors where the rank exceeds a mode
    factorization = "cp"
    linear_factorization = "cp"


@dataclass(frozen=True)
class TltorchTucker(_Factorized):
    """TensorLy-Torch's Tucker factorization of every layer's weight (Kim et al., 2016)."""

    name = "peer_tltorch_tucker"
    factorization = "tucker"
    linear_factorization = "tucker"


@dataclass(frozen=True)
class TltorchTrain(_Factorized):
    """TensorLy-Torch's tensor train, block tensor train for linear layers (Novikov et al., 2015)."""

    name = "peer_tltorch_tt"
    factorization = "tt"
    linear_factorization = "blocktt"


METHODS: list[type[Method]] = [TltorchCp, TltorchTucker, TltorchTrain]
