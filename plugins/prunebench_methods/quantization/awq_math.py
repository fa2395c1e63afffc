"""Input factors and clips that lose least of a layer's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prunebench_methods.quantization.grids import Grid, extremes_grid, fitted_grid, sixteen_bits

if TYPE_CHECKING:
    from prunebench_methods.quantization.awq import AWQ
    from prunebench_methods.shared.grams import Gram

POWERS = [step / 20 for step in range(20)]
CLIPS = [1 - step / 40 for step in range(21)]  # shares of a group's extremes, down to half
LEAST = 1e-4  # of an input's factor


def scaled_grid(weight: Tensor, gram: Gram, place: int, method: AWQ) -> tuple[Grid, Tensor]:
    """The grid of a weight (m, n) whose inputs have this Gram matrix, and its codes."""
    sizes = gram.diagonal()[place].sqrt().to(weight.dtype)
    factor = gram.factor(place)
    inputs = (gram.second(place) if factor is None else factor).to(weight.dtype)  # (n, n), or (q, n)
    factors = min(candidates(sizes), key=lambda t: _loss(weight, _plain(weight, t, method), inputs, factor is None))
    if not method.clip:
        grid = _plain(weight, factors, method)
    else:
        grid = _clipped(weight, factors, inputs if factor is None else inputs.T @ inputs, method)
    return grid, grid.codes(weight)


def candidates(sizes: Tensor) -> list[Tensor]:
    """Factors (n,) for every power of the inputs' sizes, of geometric middle 1, as 16 bits hold them."""
    found = []
    for power in POWERS:
        raised = sizes.pow(power).clamp_min(LEAST)
        found.append(sixteen_bits(raised / (raised.max() * raised.min()).sqrt()).to(sizes.dtype))
    return found


def _plain(weight: Tensor, factors: Tensor, method: AWQ) -> Grid:
    grid = fitted_grid(weight * factors, method.group, method.bits, symmetric=False)
    return Grid(grid.scales, grid.zeros, method.bits, factors)


def _loss(weight: Tensor, grid: Grid, inputs: Tensor, are_moment: bool) -> float:
    change = grid.values(grid.codes(weight)) - weight
    return float((change @ inputs * change).sum() if are_moment else (change @ inputs.T).square().sum())


def _clipped(weight: Tensor, factors: Tensor, moment: Tensor, method: AWQ) -> Grid:
    """Of every group the clip that loses least, its own inputs alone looked at."""
    width = method.group or weight.shape[1]
    cut = (weight * factors).unflatten(1, (-1, width))
    low, high, starts = cut.amin(2), cut.amax(2), range(0, weight.shape[1], width)
    inner = torch.stack([moment[i : i + width, i : i + width] for i in starts])  # (G, k, k)
    best = torch.full_like(low, float("inf"))
    chosen = torch.ones_like(low)
    for share in CLIPS:
        plain = extremes_grid(low * share, high * share, method.bits, symmetric=False)
        grid = Grid(plain.scales, plain.zeros, method.bits, factors)
        change = (grid.values(grid.codes(weight)) - weight).unflatten(1, (-1, width)).transpose(0, 1)  # (G, m, k)
        losses = (torch.bmm(change, inner) * change).sum(2).T
        better = losses < best
        best, chosen = torch.where(better, losses, best), torch.where(better, share, chosen)
    plain = extremes_grid(low * chosen, high * chosen, method.bits, symmetric=False)
    return Grid(plain.scales, plain.zeros, method.bits, factors)
