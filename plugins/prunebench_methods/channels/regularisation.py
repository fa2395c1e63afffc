"""Least squares regularised towards the present weights; held-out pictures choose the strength.

Letters: a layer reads n numbers per row and writes T.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

PULLS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # relative to the mean square of what is read, strongest first
HELD = 4  # one of so many batches is held out


class Pulled(NamedTuple):
    """Solves a regression with one pull; `left` is factorized once."""

    factor: Tensor  # Cholesky factor of the pulled left side (n, n)
    towards: Tensor  # (n, T): the pull times the numbers as they are

    def solution(self, right: Tensor) -> Tensor:
        """(n, T)"""
        return torch.cholesky_solve(right + self.towards, self.factor)


@dataclass
class Sums:
    """Sums over rows: what is read with itself, left (n, n), and with what is to be written, right (n, T); float64."""

    left: Tensor
    right: Tensor

    @classmethod
    def like(cls, now: Tensor) -> Sums:
        """No rows yet, for numbers `now` (T, n)."""
        return cls(torch.zeros_like(now[0]).diag(), torch.zeros_like(now.T))

    def add(self, read: Tensor, outputs: Tensor) -> None:
        """Take in rows (rows, n) and what is to be written there (rows, T)."""
        self.left += (read.T @ read).double()
        self.right += (read.T @ outputs).double()

    def join(self, other: Sums) -> None:
        """Take in the rows of another."""
        self.left += other.left
        self.right += other.right

    def pulled(self, share: float, now: Tensor) -> Pulled:
        """Towards `now` (T, n), with a share of the mean square of what is read."""
        pull = share * self.left.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
        eye = torch.eye(len(self.left), dtype=self.left.dtype, device=self.left.device)
        return Pulled(torch.linalg.cholesky(self.left + pull * eye), pull * now.T)

    def error(self, numbers: Tensor, worth: Tensor) -> float:
        """Squared error of numbers (n, T) over the rows, less what does not depend on them; `worth` (T,) an output."""
        each = (numbers * (self.left @ numbers - 2 * self.right)).sum(0)
        return float((each * worth).sum())


def held_out_pull(fitted: Sums, held: Sums, now: Tensor, worth: Tensor) -> float:
    """The first of `PULLS` behind which a fit of some rows only errs more on the others."""
    best, least = PULLS[0], float("inf")
    for share in PULLS:
        error = held.error(fitted.pulled(share, now).solution(fitted.right), worth)
        if error >= least:
            break
        best, least = share, error
    return best
