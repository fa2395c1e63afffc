"""Linear algebra in float32 or better, the same on every call, cached for a sweep."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import NamedTuple

import torch
from prunebench import Task
from torch import Tensor, nn

from prunebench_methods.shared.shelf import Kept, kept

# The route through the Gram matrix wins for long matrices and for large ones, and truncates within 1e-5 of the best
# error (benchmarks/sweep_low_rank.py), unless more than a few directions are too weak for float32.
GRAM_ASPECT = 2.0
GRAM_SIZE = 512  # of the smaller side
WEAK = 1e-5  # share of the largest eigenvalue below which a direction is weak
WEAK_SHARE = 0.05  # of directions; with more the Gram matrix is formed in float64
STRIPS, STRIP_SIZE = 4, 256  # parts of a matrix whose halves are equal or zero, and the side below which it is whole


class Svd(NamedTuple):
    """matrix (m, n) = left (m, k) · diag(values) · right (k, n), k = min(m, n), values descending."""

    left: Tensor
    values: Tensor
    right: Tensor

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """(m, rank) and (rank, n), each with the square root of the singular values; new tensors."""
        root = self.values[..., :rank].sqrt()
        return self.left[..., :rank] * root.unsqueeze(-2), root.unsqueeze(-1) * self.right[..., :rank, :]

    def relative_error(self, rank: int) -> float:
        """Frobenius norm of what truncation drops, over the norm of the matrix; 0 for a zero matrix."""
        squares = self.values.double().square()
        total = float(squares.sum())
        return (float(squares[..., rank:].sum()) / total) ** 0.5 if total else 0.0


def working(values: Tensor) -> Tensor:
    """The numbers apart from autograd, in float32 or better; may share storage, so never write into it."""
    values = values.detach()
    return values if values.dtype == torch.float64 else values.float()


def like(values: Tensor, layer: nn.Module, *, fresh: bool = False) -> nn.Parameter:
    """A new parameter with the numbers, in the dtype and on the device of the layer's weight.

    `fresh` numbers were made for it and are nobody else's: they are copied only where their type or place is another.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    copy = values.detach().to(dtype=weight.dtype, device=weight.device, copy=not fresh)
    return nn.Parameter(copy.contiguous(), requires_grad=weight.requires_grad)


def svd(matrix: Tensor) -> Svd:
    """The singular value decomposition, through the smaller Gram matrix where that is faster and exact enough.

    Always sign-fixed (the largest entry of each right vector is positive), so that equal input gives equal factors.
    """
    matrix = working(matrix)
    rows, columns = matrix.shape[-2:]
    short, long = min(rows, columns), max(rows, columns)
    if matrix.ndim == 2 and (long >= GRAM_ASPECT * short or short >= GRAM_SIZE):
        found = _tall_svd(matrix) if rows >= columns else _transposed(_tall_svd(matrix.T))
    else:
        found = Svd(*torch.linalg.svd(matrix, full_matrices=False))
    return _sign_fixed(found)


def _tall_svd(matrix: Tensor) -> Svd:
    """matrix = (matrix · V) · V' for every orthogonal V; V from the Gram matrix makes its truncation near optimal."""
    eigenvalues, vectors = torch.linalg.eigh(matrix.T @ matrix)
    if float((eigenvalues < WEAK * eigenvalues[-1]).float().mean()) > WEAK_SHARE:
        wide = matrix.double()
        vectors = torch.linalg.eigh(wide.T @ wide)[1].to(matrix.dtype)
    right = vectors.flip(-1)
    left = matrix @ right
    values, order = torch.linalg.vector_norm(left, dim=0).sort(descending=True, stable=True)
    tiny = torch.finfo(matrix.dtype).tiny
    return Svd(left[:, order] / values.clamp_min(tiny), values, right[:, order].T.contiguous())


def _transposed(found: Svd) -> Svd:
    return Svd(found.right.T.contiguous(), found.values, found.left.T.contiguous())


def _sign_fixed(found: Svd) -> Svd:
    largest = found.right.abs().argmax(dim=-1, keepdim=True)
    signs = torch.where(found.right.gather(-1, largest) < 0, -1.0, 1.0).to(found.right.dtype)
    return Svd(found.left * signs.transpose(-1, -2), found.values, found.right * signs)


def layer_svd(task: Task, name: str, layer: nn.Linear | nn.Conv2d, rank: int | None = None) -> Svd:
    """The decomposition of the layer's flattened weight, one per group where it is grouped; once for a whole sweep.

    All values, and all vectors or the first `rank` of them: what waits on a shelf is read as far as it is needed.
    """
    key: Hashable = ("svd", name)
    is_plain = getattr(layer, "groups", 1) == 1

    def decomposed() -> Kept:
        found = svd(flattened(layer))  # left vectors are kept as rows: the first of them lie together
        return kept(task, found._replace(left=found.left.T.contiguous()) if is_plain else found)

    held, wanted = task.once(key, decomposed), rank if is_plain else None
    left, values, right = held.rows(0, wanted), held.rows(1), held.rows(2, wanted)
    return Svd(left.T.contiguous() if is_plain else left, values, right)


def flattened(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """The weight as (out, in·kh·kw), or (groups, out/groups, in/groups·kh·kw) for a grouped convolution."""
    weight = working(layer.weight)
    groups = getattr(layer, "groups", 1)
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
    return matrix if groups > 1 else matrix[0]


def strips(size: int) -> list[tuple[int, int]]:
    """Bounds of a few equal parts of so many rows; one where there are few rows."""
    count = STRIPS if size >= STRIP_SIZE else 1
    edges = [size * place // count for place in range(count + 1)]
    return list(itertools.pairwise(edges))


def times_triangle(matrix: Tensor, triangle: Tensor) -> Tensor:
    """matrix (m, n) times a lower triangle (n, n), whose zeros are not multiplied."""
    found = torch.empty(len(matrix), triangle.shape[1], dtype=matrix.dtype, device=matrix.device)
    for first, last in strips(len(triangle)):
        torch.mm(matrix[:, first:], triangle[first:, first:last], out=found[:, first:last])
    return found


def gram_of_columns(matrix: Tensor) -> Tensor:
    """matrix' matrix (n, n), of which one half is computed and the other one is its mirror image."""
    side = matrix.shape[1]
    found = torch.empty(side, side, dtype=matrix.dtype, device=matrix.device)
    for first, last in strips(side):
        torch.mm(matrix[:, first:last].T, matrix[:, first:], out=found[first:last, first:])
        found[last:, first:last] = found[first:last, last:].T
    return found


def times_symmetric(matrix: Tensor, moment: Tensor) -> Tensor:
    """matrix (m, n) · moment · matrix' for a symmetric moment (n, n), of which only the upper half is multiplied."""
    half = torch.empty_like(matrix)
    for first, last in strips(len(moment)):
        part = half[:, first:last]
        torch.addmm(part, matrix[:, first:last], moment[first:last, first:last], beta=0, alpha=0.5, out=part)
        part.addmm_(matrix[:, :first], moment[:first, first:last])
    found = half @ matrix.T
    return found + found.T
