"""k-means: exact Lloyd steps on numbers by their order, and on groups of vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

STEPS = 100  # of numbers; Lloyd stops earlier when nothing moves
REVIVALS = 20  # of centres that have lost all their numbers
VECTOR_STEPS = 20
CHUNK = {"cpu": 1 << 17, "cuda": 1 << 24}  # distances held at once: on a CPU what stays in its cache


def centres_of_numbers(ascending: Tensor, clusters: int, start: str, generator: torch.Generator) -> Tensor:
    """At most `clusters` centres, ascending, float64 on the CPU, of numbers sorted upwards.

    `start` places the first centres: "linear" evenly from the smallest to the largest number, "density" at the
    quantiles, "random" at numbers drawn by the generator. With no more distinct numbers than clusters: those.
    """
    values = ascending.double().cpu()  # where sums come out the same every time
    distinct = values.unique_consecutive()
    if len(distinct) <= clusters:
        result: Tensor = distinct
        return result
    centres = _lloyd(values, _first_centres(values, distinct, clusters, start, generator))
    for _ in range(REVIVALS):
        revived = _revived(values, centres)
        if torch.equal(revived, centres):
            break
        centres = _lloyd(values, revived)
    return centres


def _first_centres(values: Tensor, distinct: Tensor, clusters: int, start: str, generator: torch.Generator) -> Tensor:
    if start == "linear":
        return values[0] + torch.linspace(0, 1, clusters, dtype=torch.float64) * (values[-1] - values[0])
    if start == "density":
        return values[((torch.arange(clusters) + 0.5) / clusters * len(values)).long()]
    return distinct[torch.randperm(len(distinct), generator=generator)[:clusters].sort().values]


def _lloyd(values: Tensor, centres: Tensor) -> Tensor:
    """Centres that are the means of the sorted values nearest to them; a centre without values stays where it is."""
    sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
    for _ in range(STEPS):
        limits = _limits(values, centres)
        counts = limits.diff()
        moved = torch.where(counts > 0, sums[limits].diff() / counts.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _limits(values: Tensor, centres: Tensor) -> Tensor:
    """Where each centre's values begin in the sorted ones, and the end."""
    inner = torch.searchsorted(values, boundaries(centres))
    return torch.cat([torch.tensor([0]), inner, torch.tensor([len(values)])])


def _revived(values: Tensor, centres: Tensor) -> Tensor:
    """The centres with those that have no values moved to the far ends of the widest others."""
    limits = _limits(values, centres)
    is_empty = limits.diff() == 0
    low, high = values[limits[:-1].clamp(max=len(values) - 1)], values[limits[1:] - 1]
    reach = torch.where(is_empty, 0, torch.maximum(centres - low, high - centres))
    widest = reach.sort(descending=True, stable=True).indices[: int(is_empty.sum())]
    widest = widest[reach[widest] > 0]
    ends = torch.where(centres - low > high - centres, low, high)[widest]
    dead = is_empty.nonzero().flatten()[: len(ends)]
    return centres.index_copy(0, dead, ends).sort().values


def boundaries(centres: Tensor) -> Tensor:
    """Half way between neighbours; a number on a boundary belongs to the upper centre."""
    return (centres[1:] + centres[:-1]) / 2


def nearest(values: Tensor, centres: Tensor) -> Tensor:
    """The index of each number's centre, centres ascending."""
    return torch.bucketize(values.double().contiguous(), boundaries(centres), right=True)


def clustered_vectors(
    points: Tensor, clusters: int, generator: torch.Generator, steps: int = VECTOR_STEPS
) -> tuple[Tensor, Tensor]:
    """(groups, clusters, width) centres and (groups, count) codes of (groups, count, width) points, group by group.

    Starts from points drawn by the generator; there must be at least as many points as clusters.
    """
    drawn = torch.stack([torch.randperm(points.shape[1], generator=generator)[:clusters] for _ in points])
    first = points.gather(1, drawn.to(points.device).unsqueeze(-1).expand(-1, -1, points.shape[2]))
    size = max(1, CHUNK.get(points.device.type, 1 << 20) // (points.shape[1] * clusters))  # groups at once
    found = [_lloyd_vectors(*part, steps) for part in zip(points.split(size), first.split(size), strict=True)]
    return torch.cat([centres for centres, _ in found]), torch.cat([codes for _, codes in found])


def _lloyd_vectors(points: Tensor, centres: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    codes = nearest_vectors(points, centres)
    for _ in range(steps):
        centres = _means(points, codes, centres)
        before, codes = codes, nearest_vectors(points, centres)
        if torch.equal(before, codes):
            break
    return centres, codes


def _means(points: Tensor, codes: Tensor, centres: Tensor) -> Tensor:
    """The mean of each centre's points; a centre without points stays where it is."""
    sums, counts = _sums(points, codes, centres)
    return torch.where(counts > 0, sums / counts.clamp(min=1), centres)


def _sums(points: Tensor, codes: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Sums (groups, clusters, width) and counts (groups, clusters, 1), by means that repeat exactly on the device."""
    if points.device.type == "cpu":
        sums = torch.zeros_like(centres).scatter_add_(1, codes.unsqueeze(-1).expand_as(points), points)
        ones = torch.ones_like(points[..., 0])
        return sums, torch.zeros_like(centres[..., 0]).scatter_add_(1, codes, ones).unsqueeze(-1)
    members = functional.one_hot(codes, centres.shape[1]).to(points.dtype).transpose(1, 2)
    return members @ points, members.sum(-1, keepdim=True)


def nearest_vectors(points: Tensor, centres: Tensor) -> Tensor:
    """(groups, count) indices of the centres nearest to the points."""
    lengths = centres.square().sum(-1).unsqueeze(1)
    distances = torch.baddbmm(lengths, points, centres.transpose(1, 2), alpha=-2)  # less the points' own lengths
    return distances.min(-1).indices
