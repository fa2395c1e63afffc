"""The error of a layer's effective weight, found by asking the layer, whatever it is made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MAC_BUDGET = 10**9  # for one layer: where an impulse for each weight column costs more, random probes estimate
LEAST_PROBES = 32
AFFINE_TOLERANCE = 1e-3
PIECE = 1 << 20  # weights that are compared at once, in float64
SIZES = ("in_features", "out_features", "in_channels", "out_channels", "kernel_size")
GEOMETRY = (*SIZES, "stride", "padding", "dilation", "groups", "padding_mode")
SEED = 7_310_458_126_971  # not one that people take: weights drawn from the same stream would be correlated with probes


def weight_error(before: nn.Module, after: nn.Module) -> float | None:
    """Relative Frobenius error of the linear map that `after` computes instead of `before`, biases left out.

    None where `after` takes other inputs, gives other outputs, or is not affine (it draws at random, or rounds its
    inputs). Exact where both are torch's own layers with a weight of one shape, or where an impulse a weight column is
    cheap; else estimated from Gaussian probes.
    """
    if _are_alike(before, after):
        return _of_weights(before, after)
    probes, place = _probes(before)
    zero = torch.zeros_like(probes[:1])
    wanted = _response(before, probes, zero, place)
    got = _response(after, probes, zero, place)
    if wanted is None or got is None or got.shape != wanted.shape or not _is_affine(after, probes, zero, got, place):
        return None
    norm = wanted.norm()
    return float((got - wanted).norm() / norm) if norm > 0 else None


def _of_weights(before: nn.Module, after: nn.Module) -> float | None:
    """Of two layers that are their weights, piece by piece: whole copies in float64 would be the largest of a trial."""
    wanted, got = (layer._parameters["weight"] for layer in (before, after))
    assert wanted is not None and got is not None
    error = norm = 0.0
    for w, g in zip(wanted.detach().flatten().split(PIECE), got.detach().flatten().split(PIECE), strict=True):
        exact = w.double()
        error += float((g.to(exact) - exact).square().sum())
        norm += float(exact.square().sum())
    return math.sqrt(error / norm) if norm > 0 else None


def _are_alike(before: nn.Module, after: nn.Module) -> bool:
    """Whether both compute what one class of torch's does with a weight of one shape, so that neither need be asked."""
    if type(before) is not type(after) or not (_is_its_weight(before) and _is_its_weight(after)):
        return False
    geometry = [[getattr(layer, name, None) for name in GEOMETRY] for layer in (before, after)]
    return geometry[0] == geometry[1]


def _is_its_weight(layer: nn.Module) -> bool:
    is_plain = type(layer) in (nn.Linear, nn.Conv2d) and isinstance(layer._parameters.get("weight"), nn.Parameter)
    return is_plain and "forward" not in vars(layer) and not (layer._forward_hooks or layer._forward_pre_hooks)


def output_of(module: nn.Module, x: Tensor) -> Tensor | None:
    """What the module makes of `x`; None where it does not take it, as a layer that lost inputs does not."""
    try:
        y = module(x)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return None
    return y if isinstance(y, Tensor) else None


def _response(module: nn.Module, probes: Tensor, zero: Tensor, place: tuple[int, ...]) -> Tensor | None:
    """(N, out): the outputs at one position, without what a zero input gives."""
    y, offset = output_of(module, probes), output_of(module, zero)
    if y is None or offset is None or y.ndim < len(place) + 2:
        return None
    return _at(y, place).double() - _at(offset, place).double()


def _at(y: Tensor, place: tuple[int, ...]) -> Tensor:
    return y[:, :, place[0], place[1]] if place else y


def _is_affine(module: nn.Module, probes: Tensor, zero: Tensor, got: Tensor, place: tuple[int, ...]) -> bool:
    scaled = _response(module, -2 * probes[:8], zero, place)
    if scaled is None:
        return False
    return bool((scaled + 2 * got[:8]).norm() <= AFFINE_TOLERANCE * (scaled.norm() + 1e-12))


def _probes(layer: nn.Module) -> tuple[Tensor, tuple[int, ...]]:
    """Inputs (N, in) or (N, C, H, W) for a layer, and the output position that sees the whole patch."""
    if isinstance(layer, nn.Conv2d):
        return _patches(layer)
    assert isinstance(layer, nn.Linear)
    return _rows(layer.in_features, layer.weight.numel(), layer.weight), ()


def _rows(columns: int, macs: int, like: Tensor) -> Tensor:
    """(N, columns): the identity where the budget allows, else Gaussian rows."""
    count = max(LEAST_PROBES, MAC_BUDGET // max(1, macs))
    if columns <= count:
        return torch.eye(columns, dtype=like.dtype, device=like.device)
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(count, columns, generator=generator).to(like)


def _patches(layer: nn.Conv2d) -> tuple[Tensor, tuple[int, ...]]:
    """Zero images with one patch, where a kernel without its neighbours' help sees all of it."""
    spans = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    pads = _pads(layer, spans)
    place = tuple(-(-pad // stride) for pad, stride in zip(pads, layer.stride, strict=True))
    offset = [at * stride - pad for at, stride, pad in zip(place, layer.stride, pads, strict=True)]
    size = [start + span for start, span in zip(offset, spans, strict=True)]
    positions = (place[0] + 1) * (place[1] + 1)
    taps = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
    rows = _rows(taps, layer.weight.numel() * positions, layer.weight)
    images = rows.new_zeros(len(rows), layer.in_channels, *size)
    dh, dw = layer.dilation
    images[:, :, offset[0] :: dh, offset[1] :: dw] = rows.view(len(rows), layer.in_channels, *layer.kernel_size)
    return images, place


def _pads(layer: nn.Conv2d, spans: list[int]) -> list[int]:
    if layer.padding == "same":
        return [(span - 1) // 2 for span in spans]
    return [0, 0] if layer.padding == "valid" else [int(pad) for pad in layer.padding]
