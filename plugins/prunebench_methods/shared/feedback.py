"""Changing the columns of a weight one after another, the error of each made good by the columns still to come.

Letters: W (m, n) is the weight, H (n, n) the damped second moment of its inputs, R upper triangular with R' R = H^-1.
Moving column i of W by e · R_ii and the later ones by -e · R_i,(i+1..n) loses least (Hassibi and Stork, 1993; in this
order and blocks: Frantar and Alistarh, 2022, 2023).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

BLOCK = 128  # columns whose corrections are applied to the rest at once
RAISED = 10.0  # the damping grows so while H is not positive definite in float64


class Chooser(Protocol):
    """Decides what becomes of columns; it is called from the first column to the last."""

    def begin(self, block: Tensor, first: int, scale: Tensor) -> None:
        """Before a block (m, k) of columns from `first` on; `scale` (k,) is R's diagonal there."""

    def column(self, block: Tensor, place: int, first: int) -> Tensor:
        """(m,): the new values of column `place` of the block, which holds all corrections so far."""


def damped(moment: Tensor, damp: float) -> Tensor:
    """The moment (n, n) plus `damp` times the mean of its diagonal; the identity where that is zero. A new tensor."""
    mean = float(moment.diagonal().mean())
    if mean <= 0:
        return torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    found = moment.clone()
    found.diagonal().add_(damp * mean)
    return found


def inverse_root(moment: Tensor, damp: float) -> Tensor:
    """R (n, n), upper triangular, with R' R the inverse of the damped moment, in float64.

    H = U U' with U upper triangular comes from the Cholesky factor of H read backwards, and R is U^-1: the inverse of
    H is never formed. Dead inputs, fewer samples than inputs and dependent inputs are what the damping is for; where
    it is too small for float64 it is raised.
    """
    while True:
        lower, failed = torch.linalg.cholesky_ex(damped(moment.double(), damp).flip(0, 1))
        if not int(failed):
            break
        damp *= RAISED
    upper = lower.flip(0, 1)
    identity = torch.eye(len(upper), dtype=upper.dtype, device=upper.device)
    result: Tensor = torch.linalg.solve_triangular(upper, identity, upper=True)
    return result


def sweep(weight: Tensor, root: Tensor, chooser: Chooser, block: int = BLOCK) -> Tensor:
    """The new weight (m, n): every column as `chooser` has it, corrections of later blocks made a block at a time."""
    root = root.to(weight.dtype)
    work = weight.T.clone(memory_format=torch.contiguous_format)  # (n, m): a column of W lies together
    for first in range(0, len(work), block):
        last = min(first + block, len(work))
        part, triangle = work[first:last], root[first:last, first:last]
        chooser.begin(part.T, first, triangle.diagonal())
        errors = torch.empty_like(part)
        for place in range(last - first):
            chosen = chooser.column(part.T, place, first)
            torch.sub(part[place], chosen, out=errors[place]).div_(triangle[place, place])
            part[place + 1 :].addr_(triangle[place, place + 1 :], errors[place], alpha=-1)
            part[place] = chosen
        work[last:].addmm_(root[first:last, last:].T, errors, alpha=-1)
    return work.T
