"""Sums of rank-one tensors by alternating least squares, for a batch of tensors of one shape at once.

Three things keep the components from diverging against each other: a start from orthogonal directions, a ridge that
decays while it iterates, and norms that are spread evenly over the modes after every sweep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

DECAY = 0.9  # of the ridge, a sweep
FLOOR = 0.05  # share of the ridge that it decays to
LEAST_RIDGE = 1e-12  # so that a tensor of zeros has a solution
NUDGE = 0.1  # noise on the start, relative to each vector's entries


class Settings(NamedTuple):
    """How far to iterate; `tolerance` is the change of the relative error at which a fit counts as done."""

    ridge: float = 1e-3
    sweeps: int = 60
    tolerance: float = 1e-5


class ModeBases(NamedTuple):
    """Orthogonal bases of each mode but the longest, and the tensor expressed in them.

    `core` is (B, n_longest, P), P the product of the other modes; its columns are sorted by falling norm and `places`
    (B, P) says which combination of basis vectors each column belongs to.
    """

    longest: int
    bases: list[Tensor]  # (B, n, n), in the order of the modes, that of the longest left out
    core: Tensor
    places: Tensor


def unfolded(tensor: Tensor, mode: int) -> Tensor:
    """(B, n_0, n_1, ...) as (B, n_mode, product of the others)."""
    return tensor.movedim(mode + 1, 1).flatten(2)


def mode_bases(tensor: Tensor) -> ModeBases:
    """The higher-order singular value decomposition that every fit of `tensor` starts from."""
    sizes = tensor.shape[1:]
    longest = max(range(len(sizes)), key=lambda mode: sizes[mode])
    others = [mode for mode in range(len(sizes)) if mode != longest]
    bases = [_basis(unfolded(tensor, mode)) for mode in others]
    core = tensor.movedim(longest + 1, 1)
    for place, basis in enumerate(bases):
        core = torch.einsum("bi...,bij->bj...", core.movedim(place + 2, 1), basis).movedim(1, place + 2)
    core = core.flatten(2)
    places = torch.linalg.vector_norm(core, dim=1).argsort(dim=-1, descending=True, stable=True)
    return ModeBases(longest, bases, core.gather(2, places.unsqueeze(1).expand_as(core)), places)


def _basis(matrix: Tensor) -> Tensor:
    """Left singular vectors (B, n, n), most energy first, signs fixed so that equal input gives equal vectors."""
    vectors = torch.linalg.eigh((matrix @ matrix.transpose(1, 2)).double())[1].flip(-1)
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    fixed: Tensor = vectors * torch.where(largest < 0, -1.0, 1.0)
    return fixed.to(matrix.dtype)


def exact_rank(sizes: Sequence[int]) -> int:
    """A number of components from which on every tensor of these sizes is represented exactly."""
    return math.prod(sizes) // max(sizes)


def start(found: ModeBases, rank: int, generator: torch.Generator) -> list[Tensor]:
    """The `rank` strongest columns of the core as components: exact where the rank suffices for that.

    More components than the core has columns are split off the first ones, with noise so that training can tell
    them apart.
    """
    count = min(rank, found.core.shape[2])
    factors: list[Tensor] = []
    place = found.places[:, :count]
    for basis in reversed(found.bases):
        index = (place % basis.shape[2]).unsqueeze(1).expand(-1, basis.shape[1], -1)
        factors.insert(0, basis.gather(2, index))
        place = place // basis.shape[2]
    factors.insert(found.longest, found.core[:, :, :count].clone())
    return factors if rank <= count else _with_splits(factors, found.longest, rank - count, generator)


def _with_splits(factors: list[Tensor], longest: int, extra: int, generator: torch.Generator) -> list[Tensor]:
    order = torch.arange(extra) % factors[0].shape[2]
    split = [factor[:, :, order].clone() for factor in factors]
    shares = torch.bincount(order, minlength=factors[0].shape[2]).to(factors[0]) + 1
    part = split[longest] / shares[order].to(split[longest].device)
    noise = torch.randn(part.shape, generator=generator).to(part) * part.abs().mean(dim=1, keepdim=True)
    split[longest] = part + 0.5 * noise
    factors[longest] = factors[longest].index_add(2, order.to(part.device), -split[longest])
    return [torch.cat(pair, dim=2) for pair in zip(factors, split, strict=True)]


def fitted(
    tensor: Tensor,
    rank: int,
    found: ModeBases,
    generator: torch.Generator,
    settings: Settings | None = None,
) -> list[Tensor]:
    """Factors (B, n_mode, rank), one a mode, whose products summed over the rank come near `tensor` (B, n_0, ...)."""
    settings = settings or Settings()
    factors = balanced(start(found, rank, generator))
    if rank >= found.core.shape[2]:
        return factors
    scale = torch.linalg.vector_norm(tensor.flatten(1), dim=1).clamp_min(torch.finfo(tensor.dtype).tiny)
    unit = tensor / scale.reshape(-1, *[1] * (tensor.ndim - 1))
    root = scale.reshape(-1, 1, 1) ** (1 / len(factors))
    factors = _iterated(unit, [factor / root for factor in factors], generator, settings)
    return [factor * root for factor in factors]


def _iterated(tensor: Tensor, factors: list[Tensor], generator: torch.Generator, settings: Settings) -> list[Tensor]:
    """Sweeps over a tensor of norm 1 until the error stands still; the best factors seen.

    Orthogonal directions can be a saddle (they are one for symmetric tensors), so the first sweep starts beside them.
    """
    best, best_error, ridge = factors, squared_error(tensor, factors), settings.ridge
    factors = [_nudged(factor, generator) for factor in factors]
    energy = tensor.flatten(1).double().square().sum(dim=1)
    for _ in range(settings.sweeps):
        factors, explained = _sweep(tensor, factors, ridge)
        error = energy - explained
        better = (error < best_error).reshape(-1, 1, 1)
        gain = float((best_error.clamp_min(0).sqrt() - error.clamp_min(0).sqrt()).max())
        best = [torch.where(better, new, old) for new, old in zip(factors, best, strict=True)]
        best_error = torch.minimum(error, best_error)
        settled = ridge <= settings.ridge * FLOOR
        if settled and gain < settings.tolerance:
            break
        ridge = max(ridge * DECAY, settings.ridge * FLOOR)
    return best


def _nudged(factor: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(factor.shape, generator=generator).to(factor)
    return factor + NUDGE * factor.square().mean(dim=1, keepdim=True).sqrt() * noise


def _sweep(tensor: Tensor, factors: list[Tensor], ridge: float) -> tuple[list[Tensor], Tensor]:
    """Each mode solved in turn; the factors, and how much less than the tensor's squared norm they miss (B,).

    The tensor itself is multiplied twice: once for the first mode, once for the rest.
    """
    first = _solved(unfolded(tensor, 0) @ khatri_rao(factors[1:]), factors, 0, ridge)
    factors = [first, *factors[1:]]
    shape = (tensor.shape[0], first.shape[2], *tensor.shape[2:])
    partial = (first.transpose(1, 2) @ tensor.flatten(2)).reshape(shape)  # (B, R, n_1, n_2, ...)
    for mode in range(1, len(factors)):
        right = _contracted(partial, factors, mode)
        factors[mode] = _solved(right, factors, mode, ridge)
    explained = 2 * (right.double() * factors[-1].double()).sum(dim=(1, 2)) - _inner_products(factors).sum(dim=(1, 2))
    return balanced(factors), explained


def _contracted(partial: Tensor, factors: list[Tensor], mode: int) -> Tensor:
    """(B, n_mode, R): `partial` (B, R, n_1, n_2, ...) summed against each component's other vectors."""
    others = [factor for place, factor in enumerate(factors) if place not in (0, mode)]
    lined_up = partial.movedim(mode + 1, 2).flatten(3)  # (B, R, n_mode, product of the others)
    return torch.einsum("brnp,bpr->bnr", lined_up, khatri_rao(others))


def _solved(right: Tensor, factors: list[Tensor], mode: int, ridge: float) -> Tensor:
    """The factor of `mode` that fits best while the others stand, with `ridge` on its squared norm."""
    gram = _inner_products([factor for place, factor in enumerate(factors) if place != mode])
    gram = gram + max(ridge, LEAST_RIDGE) * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    found: Tensor = torch.linalg.solve(gram, right.double().transpose(1, 2))
    return found.transpose(1, 2).to(right.dtype)


def _inner_products(factors: Sequence[Tensor]) -> Tensor:
    """(B, R, R) in float64: those of the components that these factors make."""
    return torch.stack([(factor.transpose(1, 2) @ factor).double() for factor in factors]).prod(dim=0)


def balanced(factors: list[Tensor]) -> list[Tensor]:
    """The same sum with every component's norm shared evenly among its vectors."""
    norms = [torch.linalg.vector_norm(factor, dim=1, keepdim=True) for factor in factors]
    tiny = torch.finfo(factors[0].dtype).tiny
    even = torch.exp(sum(norm.clamp_min(tiny).log() for norm in norms) / len(norms))
    even = torch.where(torch.stack(norms).amin(dim=0) > 0, even, torch.zeros_like(even))
    return [factor * (even / norm.clamp_min(tiny)) for factor, norm in zip(factors, norms, strict=True)]


def khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """(B, product of n, R): the products of each component's vectors, the first mode varying slowest."""
    result = factors[0]
    for factor in factors[1:]:
        result = (result.unsqueeze(2) * factor.unsqueeze(1)).flatten(1, 2)
    return result


def composed(factors: Sequence[Tensor]) -> Tensor:
    """The tensors (B, n_0, n_1, ...) that the factors stand for."""
    matrix = factors[0] @ khatri_rao(factors[1:]).transpose(1, 2)
    return matrix.reshape(matrix.shape[0], *[factor.shape[1] for factor in factors])


def squared_error(tensor: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """(B,) squared Frobenius norms of what the factors miss."""
    return (tensor - composed(factors)).flatten(1).double().square().sum(dim=1)


def sensitivity(tensor: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """(B,) norms of the components, summed, over the norm of the tensor: it grows without bound where they diverge."""
    norms = [torch.linalg.vector_norm(factor, dim=1) for factor in factors]
    sizes: Tensor = torch.stack(norms).prod(dim=0).sum(dim=-1)
    norm: Tensor = torch.linalg.vector_norm(tensor.flatten(1), dim=1)
    return sizes / norm
