"""RandAugment (Cubuk et al., 2020) on batches: images that draw the same operation and sign are changed together.

The operations and their strengths are those of torchvision, whose functions compute them; pixels lie in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

LARGEST = 30.0  # the magnitude at which an operation is strongest
Operation = Callable[[Tensor, float], Tensor]  # images (b, C, H, W) and a strength in [-1, 1]


def _moved(
    x: Tensor, strength: float, *, turn: float = 0, shift: tuple[float, float] = (0, 0), lean: str = ""
) -> Tensor:
    """By a rotation of `turn` degrees, a shift by shares of the sides, or a shear of 0.3 along an axis."""
    degrees = float(np.degrees(np.arctan(0.3 * strength)))
    shear = [degrees if lean == "x" else 0.0, degrees if lean == "y" else 0.0]
    moved: Tensor = tv.affine(
        x,
        angle=turn * strength,
        translate=[int(shift[0] * strength * x.shape[3]), int(shift[1] * strength * x.shape[2])],
        scale=1.0,
        shear=shear,
    )
    return moved


def _posterized(x: Tensor, strength: float) -> Tensor:
    kept: Tensor = tv.posterize(x, 8 - round(4 * abs(strength)))
    return kept


def _solarized(x: Tensor, strength: float) -> Tensor:
    turned: Tensor = tv.solarize(x, 1 - abs(strength))
    return turned


OPERATIONS: tuple[Operation, ...] = (
    lambda x, strength: x,
    partial(_moved, lean="x"),
    partial(_moved, lean="y"),
    partial(_moved, shift=(150 / 331, 0)),
    partial(_moved, shift=(0, 150 / 331)),
    partial(_moved, turn=30),
    lambda x, strength: tv.adjust_brightness(x, 1 + 0.9 * strength),
    lambda x, strength: tv.adjust_saturation(x, 1 + 0.9 * strength),
    lambda x, strength: tv.adjust_contrast(x, 1 + 0.9 * strength),
    lambda x, strength: tv.adjust_sharpness(x, 1 + 0.9 * strength),
    _posterized,
    _solarized,
    lambda x, strength: tv.autocontrast(x),
    lambda x, strength: tv.equalize(x),
)


def rand_augmented(x: Tensor, rounds: int, magnitude: int, draws: np.random.Generator) -> Tensor:
    """(B, C, H, W) in [0, 1]: `rounds` operations on each image, of one magnitude and either sign."""
    x = x.clone()
    for _ in range(rounds):
        which = draws.integers(0, len(OPERATIONS), len(x))
        signs = np.where(draws.random(len(x)) < 0.5, -1, 1)
        for number, operation in enumerate(OPERATIONS):
            for sign in (-1, 1):
                rows = np.flatnonzero((which == number) & (signs == sign))
                if len(rows):
                    chosen = torch.from_numpy(rows).to(x.device)
                    x[chosen] = operation(x[chosen], sign * magnitude / LARGEST).clamp(0, 1)
    return x
