"""Masks of a pattern from scores: exactly so many survivors, ties by position."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench_methods.masks.patterns import Pattern
from prunebench_methods.shared.exact import kept_count
from prunebench_methods.shared.masking import highest


def pattern_mask(scores: Tensor, pattern: Pattern) -> Tensor:
    """(m, n) True for the highest scores (m, n) that the pattern admits."""
    if pattern.group:
        return highest_by_row(scores.reshape(-1, pattern.group), pattern.kept).view(scores.shape)
    if pattern.per_row:
        return highest_by_row(scores, kept_count(pattern.keep, scores.shape[1]))
    return highest(scores, kept_count(pattern.keep, scores.numel()))


def drawn_mask(weight: Tensor, pattern: Pattern, seed: int) -> Tensor:
    """(m, n) True for weights drawn at random, as many and where the pattern admits them."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(weight.numel(), generator=generator).view(weight.shape)  # distinct: no two tie
    return pattern_mask(order.to(weight.device), pattern)


def highest_by_row(scores: Tensor, count: int) -> Tensor:
    """(m, n) with exactly `count` True in every row: its highest, of equals the first by position."""
    if not 0 < count < scores.shape[1]:
        return torch.full_like(scores, count > 0, dtype=torch.bool)
    edge = scores.topk(count, dim=1, sorted=False).values.amin(1, keepdim=True)  # a sort would take five times as long
    above, level = scores > edge, scores == edge
    lacking = count - above.sum(1, keepdim=True)
    if bool((level.sum(1, keepdim=True) == lacking).all()):
        return above | level
    return above | (level & (level.cumsum(1) <= lacking))


def block_mask(scores: Tensor, pattern: Pattern, first: int) -> Tensor:
    """The mask of the columns from `first` on, for scores (m, k) of these alone.

    Survivors of all blocks add up to exactly those of the whole: a block gets what is due up to its end, less what was
    due up to its start. Of n:m `first` and k are multiples of m.
    """
    if pattern.group:
        return pattern_mask(scores, pattern)
    last = first + scores.shape[1]
    rows = 1 if pattern.per_row else len(scores)
    due = kept_count(pattern.keep, rows * last) - kept_count(pattern.keep, rows * first)
    return highest_by_row(scores, due) if pattern.per_row else highest(scores, due)
