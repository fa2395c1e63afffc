"""Whole networks on what kernels a card has: products of 8-bit integers, and matrices of which two in four are zero."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from prunebench import NotApplicable
from torch import Tensor, nn

LEAST_ROWS = 17  # of a product of integers on a card
SIZES = 32  # both sides of a matrix must be a multiple of it, for both kinds of kernel
Packed = tuple[nn.Module, nn.Module, Tensor]  # the dense network, the packed one, an input for both


class Int8Product(nn.Module):
    """y = x Wᵀ + b with x and W as 8-bit integers, one scale per row of either, sums in 32 bits (`torch._int_mm`)."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        codes, self.scales = coded(layer.weight.detach())
        self.codes = codes.t()  # the kernel wants the second matrix by columns
        self.bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        codes, scales = coded(rows)
        product = torch._int_mm(codes, self.codes).to(x.dtype) * scales * self.scales.t()
        made = product if self.bias is None else product + self.bias
        return made.unflatten(0, x.shape[:-1])


def coded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes (N, K) and scales (N, 1), so that rows ≈ codes · scales."""
    scales = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return (rows / scales).round_().to(torch.int8), scales


def int8_products(network: nn.Module, x: Tensor, device: str) -> Packed:
    """The network beside a copy whose linear layers multiply integers; on a card alone: a CPU has a method for it."""
    if device == "cpu":
        raise NotApplicable("on a CPU the method int8 has kernels of its own")
    if len(x) < LEAST_ROWS:
        raise NotApplicable(f"the kernel wants at least {LEAST_ROWS} rows")
    return network, _replaced(network, Int8Product), x


def pairs_of_four(network: nn.Module, x: Tensor, device: str) -> Packed:
    """Both in float16, with two of each four weights zero, dense and in the compressed form that a card multiplies."""
    if device == "cpu":
        raise NotApplicable("torch multiplies compressed matrices of two in four on cards alone")
    if torch.cuda.get_device_capability() < (8, 0):
        raise NotApplicable("the card is older than the kernels for two in four")
    dense = copy.deepcopy(network).half()
    for layer in _fitting(dense).values():
        layer.weight.data *= two_of_four(layer.weight.data)

    def packed(layer: nn.Linear) -> nn.Linear:
        made = copy.deepcopy(layer)
        made.weight = nn.Parameter(torch.sparse.to_sparse_semi_structured(made.weight.detach()), requires_grad=False)
        return made

    return dense, _replaced(dense, packed), x.half()


def two_of_four(weight: Tensor) -> Tensor:
    """Where the two larger of each four neighbours in a row are."""
    groups = weight.abs().unflatten(-1, (-1, 4))
    kept = torch.zeros_like(groups, dtype=torch.bool)
    return kept.scatter_(-1, groups.topk(2, -1).indices, True).flatten(-2)


def _fitting(network: nn.Module) -> dict[str, nn.Linear]:
    """Linear layers by name whose sizes the kernels take; an attention's own output layer is read past its module."""
    inside = {name for name, module in network.named_modules() if isinstance(module, nn.MultiheadAttention)}
    found = {
        name: module
        for name, module in network.named_modules()
        if type(module) is nn.Linear and name.rpartition(".")[0] not in inside
        if module.in_features % (2 * SIZES) == 0 and module.out_features % SIZES == 0
    }
    if not found:
        raise NotApplicable("no linear layer has a size that the kernels take")
    return found


def _replaced(network: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    """A copy with another module in the place of each linear layer that fits."""
    made = copy.deepcopy(network)
    for name, layer in _fitting(made).items():
        holder, _, last = name.rpartition(".")
        setattr(made.get_submodule(holder), last, make(layer))
    return made.eval()
