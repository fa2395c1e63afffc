"""Drawing the shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import RandomState
from prunebench import DataError, Splits, TensorSplit

SIDE, MOST, SEED = 32, 3, 5
SIZES = (8, 14)  # pixels, the smallest and the largest
KINDS = ("square", "disc", "triangle")


def splits_of(counts: Sequence[int], noise: float, input_shape: tuple[int, ...] | None) -> Splits:
    """Inputs (N, 1, 32, 32) float32 and targets as the objective `detection` has them; N by part in `counts`."""
    if input_shape not in (None, (1, SIDE, SIDE)):
        raise DataError(
            f"drawn_shapes has images (1, {SIDE}, {SIDE}), the model wants {input_shape}: use grid_detector"
        )
    rng, digest, parts = RandomState(SEED), hashlib.sha256(), []  # its stream is promised never to change
    for count in counts:
        images, boxes, labels = zip(*(_drawn(rng, noise) for _ in range(count)), strict=True)
        inputs = torch.from_numpy(np.stack(images)).float()[:, None]
        targets = {"boxes": torch.from_numpy(np.stack(boxes)).float(), "labels": torch.from_numpy(np.stack(labels))}
        parts.append(TensorSplit(inputs, targets))
        for leaf in (inputs, *targets.values()):
            digest.update(leaf.numpy().tobytes())
    train, validation, test = parts
    return Splits(train, validation, test, fingerprint=digest.hexdigest(), outputs=len(KINDS))


def _drawn(rng: RandomState, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image (32, 32), boxes (3, 4) as shares of its side, and labels (3,), -1 where there is no shape."""
    image = noise * rng.standard_normal((SIDE, SIDE))
    boxes, labels = np.zeros((MOST, 4)), np.full(MOST, -1, np.int64)
    for place in range(1 + rng.randint(MOST)):
        kind, size = rng.randint(len(KINDS)), rng.randint(SIZES[0], SIZES[1] + 1)
        left, top = rng.randint(0, SIDE - size + 1, 2)
        if any(_touch(box * SIDE, (left, top, left + size, top + size)) for box in boxes[:place]):
            break
        image[top : top + size, left : left + size] += (0.4 + 0.6 * rng.uniform()) * _shape(kind, size)
        boxes[place] = np.array([left, top, left + size, top + size]) / SIDE
        labels[place] = kind
    return image, boxes, labels


def _touch(one: np.ndarray, other: tuple[int, int, int, int]) -> bool:
    return bool(one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])


def _shape(kind: int, size: int) -> np.ndarray:
    """(size, size) of 0 and 1: a square, a disc, or a triangle that stands on its base."""
    rows, columns = (np.mgrid[0:size, 0:size] + 0.5) / size
    if KINDS[kind] == "disc":
        return np.asarray((rows - 0.5) ** 2 + (columns - 0.5) ** 2 <= 0.25, np.float64)
    if KINDS[kind] == "triangle":
        return np.asarray(abs(columns - 0.5) <= rows / 2, np.float64)
    return np.ones((size, size))
