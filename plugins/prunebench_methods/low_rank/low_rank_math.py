"""Replacing layers by products of truncated singular vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from prunebench import LayerShape, NotApplicable, Task
from torch import Tensor, nn
from torch.nn import functional

from prunebench_methods.low_rank.pivots import product_layer
from prunebench_methods.shared.allocation_math import Sites, shares_of
from prunebench_methods.shared.gain import too_slow
from prunebench_methods.shared.grams import grams_of, grouped_weight
from prunebench_methods.shared.layers import two_layers
from prunebench_methods.shared.numerics import Svd, flattened, layer_svd, like
from prunebench_methods.shared.replace import (
    Layer,
    Places,
    emptied,
    nothing_left,
    replace_module,
    select_layers,
    shapes_by_name,
)
from prunebench_methods.shared.selection import full_rank, rounded_up

if TYPE_CHECKING:
    from prunebench_methods.low_rank.low_rank import LowRank, LowRankAsRun, RohlicekSvd


def factorize_all(method: LowRank, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer as two, of the rank that the method's settings or the layer's energy decide."""
    shapes = shapes_by_name(task)
    own, reasons = _by_layer(method, network, task)
    places = Places(network)
    for name, layer in emptied(select_layers(network, task, reasons)):
        rank = own[name].rank_of(shapes[name])
        found = layer_svd(task, name, layer, rank if method.energy is None else None)
        if method.energy is not None:
            rank = rank_for_energy(found, method.energy, method.round_to, shapes[name])
            if not method.even_if_larger and (why := method.no_saving(shapes[name], rank)):
                reasons[name] = why
                task.layer(name, left_alone=why)
                continue
        factors = product_layer(layer, *found.factors(rank), layer.bias, method.form, fresh=True)
        if why := too_slow(layer, factors, shapes[name], method.min_gain, method.gain_batch):
            reasons[name] = why
            task.layer(name, left_alone=why)
            continue
        network = places.put(name, factors)
        task.layer(name, rank=rank, weight_error=found.relative_error(rank))
    if all(reasons.values()):
        raise NotApplicable(nothing_left(reasons))
    return network


def _by_layer(method: LowRank, network: nn.Module, task: Task) -> tuple[dict[str, LowRank], dict[str, str]]:
    """Layer -> the method with the share that is its own, and why it is left alone or ""."""
    refused = method.refused(task.shapes)
    counts = {s.name: s.weight_count for s in task.shapes if not refused[s.name]}
    if method.allocation == "uniform" or method.keep is None or not counts:
        return dict.fromkeys(refused, method), method.reasons(task.shapes)
    grams = {} if method.allocation == "influence" else grams_of(network, task, counts)
    layers: dict[str, Layer] = {name: network.get_submodule(name) for name in counts}  # type: ignore[misc]
    sites = Sites(network, task, counts, grams, lambda name: grouped_weight(layers[name]))
    own = {name: method.at(share) for name, share in shares_of(method.allocation, method.keep, sites).items()}
    return own, {s.name: refused[s.name] or own[s.name].reasons([s])[s.name] for s in task.shapes}


def rank_for_energy(found: Svd, energy: float, round_to: int, shape: LayerShape) -> int:
    """The smallest rank that keeps this share of the squared singular values, summed over groups, rounded up."""
    squares = found.values.double().square().reshape(-1, found.values.shape[-1]).sum(0)
    return rounded_up(components_for(squares, energy), round_to, full_rank(shape))


def components_for(variances: Tensor, share: float) -> int:
    """The smallest count of leading entries that sum to at least `share` of all, at least 1; entries descend."""
    cumulative = variances.double().cumsum(0)
    enough = cumulative >= share * cumulative[-1] * (1 - 1e-12)  # rounding must not ask for one more
    return int(enough.int().argmax()) + 1


def factorize_with_two_biases(method: RohlicekSvd, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer as two, each with a bias; the inserted one is zero."""
    shapes = shapes_by_name(task)
    for name, layer in select_layers(network, task, method.reasons(task.shapes)).items():
        rank = method.rank_of(shapes[name])
        found = layer_svd(task, name, layer, rank)
        zero = torch.zeros(rank * shapes[name].groups)
        network = replace_module(network, name, two_layers(layer, *found.factors(rank), layer.bias, zero))
        task.layer(name, rank=rank, weight_error=found.relative_error(rank))
    return network


def factorize_as_run(method: LowRankAsRun, network: nn.Module, task: Task) -> nn.Module:
    """Every selected layer as U_k V_k', or as the identity times W where k exceeds the full rank."""
    task.note("low_rank_as_run drops the singular values, as the authors' code does; the method itself is low_rank")
    for name, layer in select_layers(network, task, method.reasons(task.shapes)).items():
        matrix = flattened(layer)
        left, right, rank = torch.eye(len(matrix)), matrix, None
        if method.rank <= min(matrix.shape):
            found, rank = layer_svd(task, name, layer), method.rank
            left, right = found.left[:, :rank], found.right[:rank]
        network = replace_module(network, name, _as_run(layer, left, right))
        task.layer(name, rank=rank)
    return network


def _as_run(layer: Layer, left: Tensor, right: Tensor) -> nn.Module:
    return two_layers(layer, left, right, layer.bias) if isinstance(layer, nn.Linear) else Unfolded(layer, left, right)


class Unfolded(nn.Module):
    """A convolution as left (T, r) · right (r, S·kh·kw) · the unfolded input; slower than `nn.Conv2d` by far.

    In training mode the same map is computed as two convolutions: what is timed is the form in evaluation mode.
    """

    def __init__(self, layer: nn.Conv2d, left: Tensor, right: Tensor) -> None:
        super().__init__()
        self.left, self.right = like(left, layer), like(right, layer)
        self.bias = None if layer.bias is None else like(layer.bias, layer)
        self.kernel_size, self.stride, self.dilation = layer.kernel_size, layer.stride, layer.dilation
        self.edges = list(layer._reversed_padding_repeated_twice)  # left, right, top, bottom
        self.mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode

    def forward(self, input: Tensor) -> Tensor:
        """(B, S, H, W) -> (B, T, H', W')."""
        padded = functional.pad(input, self.edges, mode=self.mode)
        if self.training:
            right = self.right.unflatten(1, (-1, *self.kernel_size))  # (r, S, kh, kw)
            inner = functional.conv2d(padded, right, stride=self.stride, dilation=self.dilation)
            return functional.conv2d(inner, self.left[:, :, None, None], self.bias)
        size = [
            (edge - d * (k - 1) - 1) // s + 1
            for edge, d, k, s in zip(padded.shape[2:], self.dilation, self.kernel_size, self.stride, strict=True)
        ]
        columns = functional.unfold(padded, self.kernel_size, self.dilation, stride=self.stride)  # (B, S·kh·kw, H'·W')
        result = self.left @ (self.right @ columns)
        if self.bias is not None:
            result = result + self.bias[:, None]
        answer: Tensor = result.unflatten(-1, size)
        return answer
