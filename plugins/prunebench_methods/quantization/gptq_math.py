"""Rounding by column with error feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prunebench_methods.quantization.grids import Grid, fitted_grid
from prunebench_methods.shared.feedback import BLOCK, inverse_root, step_of, sweep

if TYPE_CHECKING:
    from prunebench_methods.quantization.gptq import GPTQ
    from prunebench_methods.shared.grams import Gram


def fed_back(weight: Tensor, gram: Gram, place: int, method: GPTQ) -> tuple[Grid, Tensor]:
    """The grid of a weight (m, n) of the group of inputs at `place`, and its codes (m, n)."""
    group = method.group or weight.shape[1]

    def rooted() -> tuple[Tensor, Tensor]:
        moment = gram.second(place)
        order = torch.arange(len(moment), device=moment.device)
        if method.act_order:
            order = moment.diagonal().argsort(descending=True, stable=True)
        moment = moment[order][:, order]  # of the first one nothing is left where nobody else has it
        return order, inverse_root(moment, method.damp)

    order, root = gram.lately((method.name, place, method.damp, method.act_order), rooted)
    rounder = Rounder(weight, order, group, method)
    whole = group * max(1, BLOCK // group)  # a block begins where a group does
    if method.static_groups:
        sweep(weight[:, order], root, rounder)
    else:
        sweep(weight[:, order], root, rounder, whole, step_of(group, whole))
    return rounder.grid(), rounder.codes


class Rounder:
    """Rounds columns in an order; scales are known beforehand, or found as a group begins."""

    def __init__(self, weight: Tensor, order: Tensor, group: int, method: GPTQ) -> None:
        self.order, self.group, self.method = order.tolist(), group, method
        start = fitted_grid(weight, group, method.bits, symmetric=method.symmetric)
        self.scales = start.scales.T.contiguous().T  # a group of all rows lies together
        self.zeros = start.zeros.T.contiguous().T if isinstance(start.zeros, Tensor) else start.zeros
        self.codes = torch.zeros_like(weight.T, memory_format=torch.contiguous_format).T
        self.columns = self.codes.T.unbind()
        self.gone = weight.T.contiguous().T == 0
        self.has_gone = self.gone.any(0).tolist()

    def grid(self) -> Grid:
        """The grid of the whole weight."""
        return Grid(self.scales, self.zeros, self.method.bits)

    @property
    def top(self) -> int:
        """The largest code."""
        return (1 << self.method.bits) - 1

    def begin(self, block: Tensor, first: int, scale: Tensor) -> None:
        """See `feedback.Chooser`."""

    def column(self, block: Tensor, place: int, first: int) -> Tensor:
        """See `feedback.Chooser`."""
        at = self.order[first + place]
        number = at // self.group
        if not self.method.static_groups and at % self.group == 0:
            self._fit(block[:, place : place + self.group], number)
        wanted = block[:, place]
        if self.has_gone[at]:
            wanted = torch.where(self.gone[:, at], 0, wanted)
        scales = self.scales[:, number]
        zeros = self.zeros[:, number] if isinstance(self.zeros, Tensor) else self.zeros
        codes = torch.div(wanted, scales, out=self.columns[at])  # as `Grid.codes` and `Grid.values` have it
        codes.add_(zeros).round_().clamp_(0, self.top)
        return (codes - zeros).mul_(scales)

    def _fit(self, columns: Tensor, number: int) -> None:
        found = fitted_grid(columns, 0, self.method.bits, symmetric=self.method.symmetric)
        self.scales[:, number] = found.scales[:, 0]
        if isinstance(self.zeros, Tensor) and isinstance(found.zeros, Tensor):
            self.zeros[:, number] = found.zeros[:, 0]
