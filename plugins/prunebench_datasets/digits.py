"""The digits that scikit-learn carries, split once and for all."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from prunebench_datasets.images import Part, Parts

VALIDATION_COUNT, TEST_COUNT = 300, 500
SPLIT_SEED = 20
BRIGHTEST = 16  # of the source's pixels


def read_digits() -> Parts:
    """997, 300 and 500 digits as bytes, each part with every class in the same share."""
    source = load_digits()
    images = torch.from_numpy(np.rint(source.images * (255 / BRIGHTEST)).astype(np.uint8))  # (1797, 8, 8)
    labels = torch.from_numpy(source.target).long()
    rest, test = _stratified(np.arange(len(labels)), labels.numpy(), TEST_COUNT)
    train, validation = _stratified(rest, labels.numpy(), VALIDATION_COUNT)
    return Parts(*(Part(images[rows], labels[rows]) for rows in (train, validation, test)))


def _stratified(rows: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    kept, taken = train_test_split(rows, test_size=count, random_state=SPLIT_SEED, stratify=labels[rows])
    return kept, taken
