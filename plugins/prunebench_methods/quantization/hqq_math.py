"""Zero points by half-quadratic splitting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prunebench_methods.quantization.grids import Grid, sixteen_bits

if TYPE_CHECKING:
    from prunebench_methods.quantization.hqq import HQQ

WEIGHT, GROWTH = 10.0, 1.01  # of the quadratic term, and its growth a round


def half_quadratic(weight: Tensor, method: HQQ) -> tuple[Grid, Tensor]:
    """The grid of a weight (m, n) and its codes: rounds go on while the mean error falls."""
    cut = weight.unflatten(1, (-1, method.group or weight.shape[1]))  # (m, G, k)
    low, high = cut.amin(2), cut.amax(2)
    spans = (high - low) / ((1 << method.bits) - 1)
    alike = torch.where(low != 0, low.abs(), 1.0)  # groups of one value have it as their scale
    scales = sixteen_bits(torch.where(spans > 0, spans, alike)).to(weight.dtype)
    scales = torch.where(scales > 0, scales, torch.finfo(torch.bfloat16).tiny)
    best, least, quadratic = _held(-low / scales), float("inf"), WEIGHT
    zeros = best
    for _ in range(method.rounds):
        grid = Grid(scales, zeros, method.bits)
        codes = grid.codes(weight)
        error = weight - grid.values(codes)
        mean = float(error.abs().mean())
        if not mean < least:
            break
        best, least = zeros, mean
        sparse = _shrunk(error, quadratic, method.norm)
        moved = codes - (weight - sparse) / scales.repeat_interleave(cut.shape[2], dim=1)
        zeros, quadratic = _held(moved.unflatten(1, cut.shape[1:]).mean(2)), quadratic * GROWTH
    grid = Grid(scales, best, method.bits)
    return grid, grid.codes(weight)


def _held(zeros: Tensor) -> Tensor:
    """As 16 bits hold them."""
    return sixteen_bits(zeros, least=0.0).to(zeros.dtype)


def _shrunk(error: Tensor, quadratic: float, norm: float) -> Tensor:
    """What the sparse norm lets stand of the error."""
    size = error.abs()
    return error.sign() * (size - size.clamp_min(1e-12).pow(norm - 1) / quadratic).clamp_min(0)
