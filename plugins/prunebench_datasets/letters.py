"""Letters drawn with the font inside Pillow, bent by seeded random maps: synthetic, and no file is needed."""

from __future__ import annotations

import math
import string

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from prunebench_datasets.images import Part, Parts

SIDE = 28  # of the finished picture, in pixels
CANVAS = 56  # of the glyph before it is bent, in pixels
STROKES = (0, 1, 2)  # extra stroke widths that a glyph is drawn with, in canvas pixels
HELD_SHARE = 1 / 7  # that validates, and as many that test: as in EMNIST letters
GRID = 4  # control points per side of the elastic distortion


def draw_letters(per_class: int, distortion: float, noise: float, seed: int) -> Parts:
    """26 classes of `per_class` pictures (28, 28), upper and lower case in one class as in EMNIST letters."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(26).repeat_interleave(per_class)
    pictures = _pictures(_glyphs(), labels, distortion, noise, generator)
    return _parts(pictures, labels, per_class, generator)


def _glyphs() -> Tensor:
    """(26, 2 cases, strokes, CANVAS, CANVAS) in [0, 1]."""
    font = ImageFont.load_default(size=36)
    letters = zip(string.ascii_uppercase, string.ascii_lowercase, strict=True)
    drawn = [[[_glyph(case, stroke, font) for stroke in STROKES] for case in pair] for pair in letters]
    return torch.from_numpy(np.array(drawn)).float() / 255


def _glyph(letter: str, stroke: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> np.ndarray:
    picture = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = draw.textbbox((0, 0), letter, font=font, stroke_width=stroke)
    corner = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)  # the ink in the middle, as EMNIST centres it
    draw.text(corner, letter, fill=255, font=font, stroke_width=stroke)
    return np.asarray(picture)


def _pictures(glyphs: Tensor, labels: Tensor, distortion: float, noise: float, generator: torch.Generator) -> Tensor:
    """One bent, blurred, noisy picture (28, 28) uint8 for each label."""
    pictures = torch.empty(len(labels), SIDE, SIDE, dtype=torch.uint8)
    for rows in torch.arange(len(labels)).split(2048):
        count = len(rows)
        case = torch.randint(2, (count,), generator=generator)
        stroke = torch.randint(len(STROKES), (count,), generator=generator)
        ink = glyphs[labels[rows], case, stroke][:, None]  # (n, 1, CANVAS, CANVAS)
        places = _affine(count, distortion, generator) + _elastic(count, distortion, generator)
        bent = functional.grid_sample(ink, places, mode="bilinear", align_corners=False)
        spoiled = bent[:, 0] + noise * torch.randn(bent[:, 0].shape, generator=generator)
        pictures[rows] = (spoiled.clamp(0, 1) * 255).round().byte()
    return pictures


def _affine(count: int, distortion: float, generator: torch.Generator) -> Tensor:
    """Sampling places (n, SIDE, SIDE, 2) of random rotations, scales, shears and shifts."""

    def spread(width: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * width * distortion

    angle, shear = spread(math.radians(14)), spread(0.2)
    wide, high = 0.75 * torch.exp(spread(0.18)), 0.75 * torch.exp(spread(0.18))
    across, down = spread(0.08), spread(0.08)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [wide * cos, high * (shear * cos - sin), across, wide * sin, high * (shear * sin + cos), down]
    matrix = torch.stack(rows, dim=1).view(count, 2, 3)
    return functional.affine_grid(matrix, [count, 1, SIDE, SIDE], align_corners=False)


def _elastic(count: int, distortion: float, generator: torch.Generator) -> Tensor:
    """Smooth shifts (n, SIDE, SIDE, 2): bicubic between random control points."""
    control = torch.randn(count, 2, GRID, GRID, generator=generator) * (0.05 * distortion)
    smooth = functional.interpolate(control, (SIDE, SIDE), mode="bicubic", align_corners=True)
    return smooth.permute(0, 2, 3, 1)


def _parts(pictures: Tensor, labels: Tensor, per_class: int, generator: torch.Generator) -> Parts:
    """Every class in the same shares in each part, samples in random order."""
    held = max(1, round(per_class * HELD_SHARE))
    place = torch.arange(per_class).repeat(26)  # of a sample within its class
    chosen = (place >= 2 * held, (place >= held) & (place < 2 * held), place < held)
    whole = Part(pictures, labels)
    return Parts(*(whole.take(_shuffled(mask.nonzero()[:, 0], generator)) for mask in chosen))


def _shuffled(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)]
