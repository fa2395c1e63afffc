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
STEP = 32  # to the rest of their block
SMALL = 96  # side of a triangle that is not halved
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
    del lower  # of a wide layer each of these matrices takes a part of what the network itself does
    return inverse_triangle(upper)


def inverse_triangle(upper: Tensor) -> Tensor:
    """The inverse of an upper triangle (n, n), half by half: less work than n right sides, in products."""
    half = len(upper) // 2
    if len(upper) <= SMALL:
        identity = torch.eye(len(upper), dtype=upper.dtype, device=upper.device)
        solved: Tensor = torch.linalg.solve_triangular(upper, identity, upper=True)
        return solved
    found = torch.zeros_like(upper)
    first, second = inverse_triangle(upper[:half, :half]), inverse_triangle(upper[half:, half:])
    found[:half, :half], found[half:, half:] = first, second
    torch.mm(first, upper[:half, half:] @ second, out=found[:half, half:]).neg_()
    return found


def step_of(group: int, block: int) -> int:
    """Columns after which the rest of a block is corrected, where a chooser reads so many from the first of a group."""
    return STEP if group <= STEP and STEP % max(1, group) == 0 else block


def sweep(weight: Tensor, root: Tensor, chooser: Chooser, block: int = BLOCK, step: int = STEP) -> Tensor:
    """The new weight (m, n): every column as `chooser` has it, corrections of later blocks made a block at a time.

    Within a block they are made at once for `step` columns, and for the others when those are done; the chooser reads
    no column beyond those.
    """
    root = root.to(weight.dtype)
    work = weight.T.clone(memory_format=torch.contiguous_format)  # (n, m): a column of W lies together
    for first in range(0, len(work), block):
        last = min(first + block, len(work))
        part, triangle = work[first:last], root[first:last, first:last]
        scales = triangle.diagonal()
        chooser.begin(part.T, first, scales)
        errors, lengths = torch.empty_like(part), scales.tolist()
        rows = list(zip(part.unbind(), errors.unbind(), triangle.unbind(), strict=True))
        for start in range(0, last - first, step):
            end = min(start + step, last - first)
            for place in range(start, end):
                column, error, row = rows[place]
                chosen = chooser.column(part.T, place, first)
                torch.sub(column, chosen, out=error).div_(lengths[place])
                part[place + 1 : end].addr_(row[place + 1 : end], error, alpha=-1)
                column.copy_(chosen)
            part[end:].addmm_(triangle[start:end, end:].T, errors[start:end], alpha=-1)
        work[last:].addmm_(root[first:last, last:].T, errors, alpha=-1)
    return work.T
