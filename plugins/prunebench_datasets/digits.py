"""The digits that scikit-learn carries, split once and for all."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from prunebench import DataError

from prunebench_datasets.images import Part, Parts

VALIDATION_COUNT, TEST_COUNT = 300, 500
SPLIT_SEED = 20
BRIGHTEST = 16  # of the source's pixels
FILE = Path("datasets", "data", "digits.csv.gz")  # in scikit-learn's folder: importing it takes seconds


def read_digits() -> Parts:
    """997, 300 and 500 digits as bytes, each part with every class in the same share."""
    source = np.loadtxt(_file(), delimiter=",")  # (1797, 64 pixels and the label)
    pixels = np.rint(source[:, :-1] * (255 / BRIGHTEST)).astype(np.uint8)
    images, labels = torch.from_numpy(pixels.reshape(-1, 8, 8)), torch.from_numpy(source[:, -1]).long()
    rest, test = stratified(np.arange(len(labels)), labels.numpy(), TEST_COUNT)
    train, validation = stratified(rest, labels.numpy(), VALIDATION_COUNT)
    return Parts(*(Part(images[rows], labels[rows]) for rows in (train, validation, test)))


def _file() -> Path:
    found = importlib.util.find_spec("sklearn")
    folders = list(found.submodule_search_locations or ()) if found else []
    for folder in folders:
        if (Path(folder) / FILE).is_file():
            return Path(folder) / FILE
    raise DataError(f"scikit-learn's digits, sklearn/{FILE}, are not there: pip install --force-reinstall scikit-learn")


def stratified(rows: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`rows` without `count` of them, and those, classes in the same shares, as `train_test_split` draws them.

    The same draws in the same order as scikit-learn's `StratifiedShuffleSplit` makes with SPLIT_SEED: the same split.
    """
    rng = np.random.RandomState(SPLIT_SEED)  # its stream is promised never to change
    classes = labels[rows]
    sizes = np.bincount(classes)
    kept_sizes = _shares(sizes, len(rows) - count, rng)
    taken_sizes = _shares(sizes - kept_sizes, count, rng)
    kept, taken = [], []
    for label, (first, second) in enumerate(zip(kept_sizes, taken_sizes, strict=True)):
        members = np.flatnonzero(classes == label)[rng.permutation(sizes[label])]
        kept.append(members[:first])
        taken.append(members[first : first + second])
    kept_rows = rng.permutation(np.concatenate(kept))
    return rows[kept_rows], rows[rng.permutation(np.concatenate(taken))]


def _shares(sizes: np.ndarray, count: int, rng: np.random.RandomState) -> np.ndarray:
    """`count` shared out in proportion to `sizes`: whole numbers, the largest remainders first, ties by lot."""
    exact = sizes / sizes.sum() * count
    shares = np.floor(exact)
    remainder = exact - shares
    left = count - int(shares.sum())
    for value in np.unique(remainder)[::-1]:
        if left > 0:
            tied = np.flatnonzero(remainder == value)
            shares[rng.choice(tied, size=min(len(tied), left), replace=False)] += 1
            left -= min(len(tied), left)
    result: np.ndarray = shares.astype(int)
    return result
