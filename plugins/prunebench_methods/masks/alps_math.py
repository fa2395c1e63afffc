"""Alternating directions for the best masked weight.

Letters: W (m, n) is the dense weight with its columns times the sizes of their inputs, H the damped moment of the
inputs divided by them, ρ the price of differing: A (m, n) has least loss, D (m, n) is masked, V (m, n) adds up how they
differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prunebench_methods.masks.pattern_math import pattern_mask
from prunebench_methods.masks.refit_math import Damped, refit
from prunebench_methods.masks.sparsegpt_math import input_sizes
from prunebench_methods.shared.grams import Gram

if TYPE_CHECKING:
    from prunebench_methods.masks.alps import Alps

FIRST_PRICE = 0.1
EVERY = 3  # rounds between changes of the price
STEPS = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))  # above this share of survivors exchanged -> the price grows so


def alternated(weight: Tensor, gram: Gram, group: int, method: Alps) -> tuple[Tensor, Tensor]:
    """The fitted weight (m, n) and its mask."""
    if method.wanted.is_all:
        return weight, torch.ones_like(weight, dtype=torch.bool)
    sizes = input_sizes(torch.diag_embed(gram.diagonal()[group]))
    damped = Damped.of(gram, group, method.damp, sizes)
    scaled = weight * sizes.to(weight.dtype)
    masked, mask = _settled(scaled, damped, method)
    return refit(scaled, mask, damped, masked) / sizes.to(weight.dtype), mask


def _settled(weight: Tensor, damped: Damped, method: Alps) -> tuple[Tensor, Tensor]:
    """D and its mask, once no survivor is exchanged, or after as many rounds as allowed."""
    values, vectors = (part.to(weight.dtype) for part in damped.spectrum())
    floor = damped.ridge[0].to(weight.dtype)
    mask = pattern_mask(weight.abs(), method.wanted)
    masked, difference = torch.where(mask, weight, 0), torch.zeros_like(weight)
    price, before = FIRST_PRICE, mask
    for number in range(1, method.rounds + 1):
        push = price * (masked - weight) - difference
        base, beyond = 1 / (floor + price), 1 / (values + floor + price)
        free = weight + base * push + ((push @ vectors) * (beyond - base)) @ vectors.T
        goal = free + difference / price
        mask = pattern_mask(goal.abs(), method.wanted)
        masked = torch.where(mask, goal, 0)
        difference = difference + price * (free - masked)
        if number % EVERY == 0:
            share = float((mask ^ before).sum()) / max(1, int(mask.sum()))
            if share == 0:
                break
            price, before = price * next(factor for limit, factor in STEPS if share > limit), mask
    return masked, mask
