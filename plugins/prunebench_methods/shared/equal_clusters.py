"""Clusters of vectors, of whatever sizes come out or all of one size."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from prunebench_methods.shared.clustering import clustered_vectors

RESTARTS = 4
STEPS = 20


def clusters_of(points: Tensor, count: int, generator: torch.Generator, *, equal: bool) -> Tensor:
    """The cluster (N,) of each point (N, D): the best of several k-means runs, by their squared distances.

    `equal` asks for N / count points in each, which must be a whole number.
    """
    points = points.detach().float().cpu()
    starts = points.expand(RESTARTS, -1, -1).contiguous()
    centres, codes = clustered_vectors(starts, count, generator)
    spread = (starts - centres.gather(1, codes.unsqueeze(-1).expand_as(starts))).square().sum(dim=(1, 2))
    best = int(spread.argmin())
    return _equalised(points, centres[best]) if equal else codes[best]


def _means(points: Tensor, codes: Tensor, count: int) -> Tensor:
    sizes = torch.bincount(codes, minlength=count).clamp_min(1)
    return torch.zeros(count, points.shape[1]).index_add(0, codes, points) / sizes[:, None]


def _equalised(points: Tensor, centres: Tensor) -> Tensor:
    """Codes of equal size, from these centres on: the cheapest assignment and the means, in turn."""
    count, size = len(centres), len(points) // len(centres)
    codes = torch.full((len(points),), -1)
    for _ in range(STEPS):
        seats = torch.cdist(points, centres).square().repeat_interleave(size, dim=1)  # (N, N)
        rows, columns = linear_sum_assignment(seats.numpy())
        before, codes = codes, torch.empty_like(codes)
        codes[torch.from_numpy(rows)] = torch.from_numpy(columns) // size
        if torch.equal(before, codes):
            break
        centres = _means(points, codes, count)
    return codes
