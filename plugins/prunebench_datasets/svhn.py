"""Street View House Numbers: MATLAB files, as they are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from prunebench import DataError
from torchvision import datasets

from prunebench_datasets.fetching import reason_of
from prunebench_datasets.image_split import Labelled
from prunebench_datasets.places import svhn_files

URL = "http://ufldl.stanford.edu/housenumbers/"


def read(folder: Path) -> tuple[Labelled, Labelled]:
    """Training and test images; the label 10 of the files is the digit 0."""
    if not all(svhn_files(folder)):
        _fetch(folder)
    train, test = svhn_files(folder)
    if train is None or test is None:
        raise DataError(_missing(folder, "a file is missing"))
    return _parsed(train), _parsed(test)


def _parsed(file: Path) -> Labelled:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        table = loadmat(file)
        images, labels = table["X"], table["y"].reshape(-1)
    except KeyError as error:
        raise DataError(f"{file} has no variable {error}: it is not a file of SVHN's cropped digits") from None
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{file} is not a readable MATLAB file ({error}): delete it and fetch it again") from error
    if images.ndim != 4 or images.shape[:3] != (32, 32, 3) or images.shape[3] != len(labels):
        raise DataError(f"{file}: images {images.shape} and labels {labels.shape} do not belong together")
    if labels.min() < 1 or labels.max() > 10:
        raise DataError(f"{file} has labels outside 1 to 10: it is not a file of SVHN's cropped digits")
    pixels = np.ascontiguousarray(images.transpose(3, 2, 0, 1), dtype=np.uint8)  # (H, W, C, N) -> (N, C, H, W)
    return Labelled(torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64) % 10))


def _fetch(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            datasets.SVHN(folder, split=split, download=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(_missing(folder, f"could not be fetched ({reason_of(error)})")) from error


def _missing(folder: Path, why: str) -> str:
    return f"SVHN in {folder}: {why}: put the two .mat files of {URL} there, or name a folder with --data-dir"
