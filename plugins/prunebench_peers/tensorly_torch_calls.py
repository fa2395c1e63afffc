"""Calls of TensorLy-Torch."""

from __future__ import annotations

import copy
import warnings
from math import prod
from typing import TYPE_CHECKING

from prunebench import Task
from tensorly.cp_tensor import validate_cp_rank
from tltorch import FactorizedConv, FactorizedLinear
from tltorch.utils import get_tensorized_shape
from torch import Tensor, nn

from prunebench_peers.adapters import handed, require
from prunebench_peers.randomness import seeded

if TYPE_CHECKING:
    from prunebench_peers.tensorly_torch import _Factorized

LARGEST = 2**24  # entries of a matrix that a decomposition may need: ten seconds or so


def factorized(network: nn.Module, task: Task, method: _Factorized) -> nn.Module:
    """`network` with the layers that the library can represent replaced by its own."""
    names = _representable(network, task, handed(task, method.section, replaced=True), method)
    with seeded(task.generator), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ranks that a mode is too small for, which the library cuts
        for name in names:
            network.set_submodule(name, _replacement(network.get_submodule(name), method))
    return network


def _representable(network: nn.Module, task: Task, names: list[str], method: _Factorized) -> list[str]:
    reasons = {name: _refusal(network.get_submodule(name), method) for name in names}
    for name, why in reasons.items():
        if why:
            task.layer(name, left_alone=why)
    return require([name for name, why in reasons.items() if not why], list(reasons.values()))


def _refusal(layer: nn.Module, method: _Factorized) -> str:
    if isinstance(layer, nn.Linear):
        return _folding_refusal(layer, method.modes) or _size_refusal(_folded(layer, method.modes), method)
    assert isinstance(layer, nn.Conv2d)
    if layer.groups > 1:
        return "grouped"
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return f"padding {layer.padding!r} with mode {layer.padding_mode!r}"
    if layer.stride[0] != layer.stride[1]:
        return f"stride {layer.stride}"
    return _size_refusal(tuple(layer.weight.shape), method)


def _folded(layer: nn.Linear, modes: int) -> tuple[int, ...]:
    """The tensor shape that the library gives the weight."""
    sides = (layer.in_features, layer.out_features)
    into, out = get_tensorized_shape(*sides, order=modes, min_dim=2, verbose=False)
    return (*out, *into)


def _size_refusal(shape: tuple[int, ...], method: _Factorized) -> str:
    """CP multiplies with the Khatri-Rao product of all factors but one, which can be larger than memory."""
    if method.factorization != "cp":
        return ""
    components = validate_cp_rank(shape, rank=method.rank)
    if components < 1:
        return f"a share of {method.rank:g} is less than one component"
    entries = prod(shape) // min(shape) * components
    return f"its CP would need matrices of {entries:,} entries" if entries > LARGEST else ""


def _folding_refusal(layer: nn.Linear, modes: int) -> str:
    """The library's search for a folding does not end for a side that has none."""
    short = [side for side in (layer.in_features, layer.out_features) if _prime_factor_count(side) < modes]
    return f"{short[0]} is no product of {modes} numbers" if short else ""


def _prime_factor_count(number: int) -> int:
    count, divisor = 0, 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            number, count = number // divisor, count + 1
        divisor += 1
    return count + (number > 1)


def _replacement(layer: nn.Module, method: _Factorized) -> nn.Module:
    """The library's layer in the place of `layer`, decomposed in float32 or better, with a bias of its own."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    wide = copy.deepcopy(layer).requires_grad_(False)
    wide = wide.float() if weight.dtype.itemsize < 4 else wide
    if isinstance(wide, nn.Conv2d):
        made = FactorizedConv.from_conv(
            wide, rank=method.rank, factorization=method.factorization, implementation="factorized"
        )
    else:
        made = FactorizedLinear.from_linear(
            wide,
            rank=method.rank,
            n_tensorized_modes=method.modes,
            factorization=method.linear_factorization,
            implementation="reconstructed",  # the other one holds an outer product of input and factors
            bias=wide.bias is not None,
        )
    replaced: nn.Module = made.to(device=weight.device, dtype=weight.dtype).requires_grad_(weight.requires_grad)
    return replaced
