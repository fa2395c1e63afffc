"""The weights of least loss on a given mask.

Letters: W (m, n) is the dense weight, H = G + λ I (n, n) the damped second moment of its inputs, P the survivors of a
row. The loss of V is tr (V - W) H (V - W)', and on P it is least where H_PP v_P = (H w)_P.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prunebench_methods.shared.grams import Gram

EXACT_WORK = 2e10  # multiply-accumulates of all rows' Cholesky factors up to which they are made
EXACT_ENTRIES = 1 << 23  # of the systems that are solved at once
STEPS = 100  # of conjugate gradients at most
CLOSE = 1e-6  # the residual, as a share of the first, at which they end


@dataclass(frozen=True)
class Damped:
    """H as F' F + `ridge` (n,) on the diagonal, of a factor F (q, n), or G in the place of F' F."""

    ridge: Tensor
    factor: Tensor | None = None
    moment: Tensor | None = None

    @classmethod
    def of(cls, gram: Gram, group: int, damp: float, sizes: Tensor | None = None) -> Damped:
        """The inputs' moment damped by `damp` of its mean; each input divided by its size (n,) before."""
        squares = gram.diagonal()[group]
        sizes = torch.ones_like(squares) if sizes is None else sizes
        mean = float((squares / sizes.square()).mean())
        ridge = torch.full_like(squares, damp * mean if mean > 0 else 1.0)
        factor = gram.factor(group)
        if factor is not None:
            return cls(ridge, factor=factor / sizes)
        return cls(ridge, moment=gram.second(group) / torch.outer(sizes, sizes))

    def times(self, rows: Tensor) -> Tensor:
        """rows (m, n) times H, in their dtype."""
        plain = rows * self.ridge.to(rows.dtype)
        if self.factor is not None:
            factor = self.factor.to(rows.dtype)
            return (rows @ factor.T) @ factor + plain
        assert self.moment is not None
        return rows @ self.moment.to(rows.dtype) + plain

    def matrix(self) -> Tensor:
        """(n, n), in float64."""
        plain = self.factor.T @ self.factor if self.factor is not None else self.moment
        assert plain is not None
        return plain + self.ridge.diag()

    def diagonal(self) -> Tensor:
        """(n,)"""
        plain = self.factor.square().sum(0) if self.factor is not None else None
        if plain is None:
            assert self.moment is not None
            plain = self.moment.diagonal()
        return plain + self.ridge

    def loss(self, change: Tensor) -> float:
        """tr D H D' of a change D (m, n) of the weight."""
        change = change.double()
        return float((self.times(change) * change).sum())

    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (k,), without the ridge, and vectors (n, k); of F' F only those that are not zero."""
        if self.factor is None:
            assert self.moment is not None
            values, vectors = torch.linalg.eigh(self.moment)
            return values.clamp_min(0), vectors
        values, left = torch.linalg.eigh(self.factor @ self.factor.T)
        seen = values > 1e-12 * values[-1]
        return values[seen], self.factor.T @ (left[:, seen] / values[seen].sqrt())


def refit(weight: Tensor, mask: Tensor, damped: Damped, start: Tensor | None = None) -> Tensor:
    """(m, n): the weights of least loss that are zero outside the mask, in the dtype of `weight`.

    By Cholesky factors where that is quick; else by conjugate gradients from `start`, which never end above it.
    """
    counts = mask.sum(1).double()
    if float((counts**3).sum()) / 3 <= EXACT_WORK:
        return _exact(weight, mask, damped).to(weight.dtype)
    return _by_gradients(weight, mask, damped, torch.where(mask, weight if start is None else start, 0))


def _exact(weight: Tensor, mask: Tensor, damped: Damped) -> Tensor:
    """All rows with one number of survivors together, as many as the memory allows."""
    moment, wide = damped.matrix(), weight.double()
    wanted, counts = damped.times(wide), mask.sum(1)
    found = torch.zeros_like(wide)
    for count in counts.unique().tolist():
        alike = (counts == count).nonzero()[:, 0]
        for rows in alike.split(max(1, EXACT_ENTRIES // max(1, count * count))) if count else ():
            kept = mask[rows].nonzero()[:, 1].view(len(rows), count)
            systems = moment[kept[:, :, None], kept[:, None, :]]
            known = wanted[rows].gather(1, kept)
            solved = torch.cholesky_solve(known[:, :, None], torch.linalg.cholesky(systems))[:, :, 0]
            found[rows] = found[rows].scatter(1, kept, solved)
    return found


def _by_gradients(weight: Tensor, mask: Tensor, damped: Damped, start: Tensor) -> Tensor:
    """Conjugate gradients of all rows at once, preconditioned by the diagonal of H."""
    scale = damped.diagonal().to(weight.dtype)
    found = start.clone()
    residual = damped.times(weight - found).masked_fill(~mask, 0)
    step = residual / scale
    power = (residual * step).sum(1, keepdim=True)
    first = float(power.sum())
    for _ in range(STEPS):
        if float(power.sum()) <= CLOSE**2 * first:
            break
        image = damped.times(step).masked_fill(~mask, 0)
        length = power / (step * image).sum(1, keepdim=True).clamp_min(1e-30)
        found += length * step
        residual -= length * image
        again = residual / scale
        after = (residual * again).sum(1, keepdim=True)
        step, power = again + after / power.clamp_min(1e-30) * step, after
    return found
