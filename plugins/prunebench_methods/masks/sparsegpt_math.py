"""Masks by column with error feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prunebench_methods.masks.pattern_math import block_mask
from prunebench_methods.masks.patterns import Pattern
from prunebench_methods.shared.feedback import inverse_root, step_of, sweep

if TYPE_CHECKING:
    from prunebench_methods.masks.sparsegpt import SparseGPT
    from prunebench_methods.shared.grams import Gram


def corrected(weight: Tensor, gram: Gram, group: int, method: SparseGPT) -> tuple[Tensor, Tensor]:
    """The weight (m, n) masked and corrected for the inputs of this group, and the mask."""
    if method.wanted.is_all:
        return weight, torch.ones_like(weight, dtype=torch.bool)

    def rooted() -> tuple[Tensor, Tensor]:
        moment = gram.second(group)
        sizes = input_sizes(moment) if method.scale == "jacobi" else torch.ones_like(moment[0])
        return sizes, inverse_root(moment / torch.outer(sizes, sizes), method.damp)

    sizes, root = gram.lately((method.name, group, method.damp, method.scale), rooted)
    mask = torch.ones_like(weight.T, dtype=torch.bool, memory_format=torch.contiguous_format).T  # columns together
    chooser = Masker(mask, method.wanted)
    step = step_of(method.wanted.group, method.block)
    scaled = sweep(weight * sizes.to(weight.dtype), root, chooser, method.block, step)
    return torch.where(chooser.mask, scaled / sizes.to(weight.dtype), 0), chooser.mask


def input_sizes(moment: Tensor) -> Tensor:
    """(n,): root mean squares of inputs, those next to nothing held up by a hundredth of the mean square."""
    squares = moment.diagonal()
    mean = squares.mean()
    return (squares + 0.01 * mean).sqrt() if float(mean) > 0 else torch.ones_like(squares)


class Masker:
    """Chooses the mask of a block at its start, or of n:m group by group, from the weights as corrected so far."""

    def __init__(self, mask: Tensor, pattern: Pattern) -> None:
        self.mask, self.pattern = mask, pattern
        self.scale = mask.new_ones(0, dtype=torch.float32)
        self.kept: list[Tensor] = []  # 1 or 0 for the weights of each column of the block, as far as they are chosen

    def begin(self, block: Tensor, first: int, scale: Tensor) -> None:
        """See `feedback.Chooser`."""
        self.scale, self.kept = scale, []
        if not self.pattern.group:
            self._choose(block, first)

    def column(self, block: Tensor, place: int, first: int) -> Tensor:
        """See `feedback.Chooser`."""
        group = self.pattern.group
        if group and place % group == 0:
            self._choose(block[:, place : place + group], first + place, place)
        return block[:, place] * self.kept[place]

    def _choose(self, columns: Tensor, first: int, place: int = 0) -> None:
        width = columns.shape[1]
        losses = (columns / self.scale[place : place + width]).square()
        chosen = block_mask(losses, self.pattern, first)
        self.mask[:, first : first + width] = chosen
        self.kept += chosen.T.to(columns.dtype, memory_format=torch.contiguous_format).unbind()
