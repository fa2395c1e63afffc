"""Photographs as normalised tensors, decoded as they are needed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from prunebench import DataError, Splits, StreamSplit
from torch.utils.data import Subset
from torchvision import datasets, transforms

from prunebench_datasets.images import image_shape
from prunebench_datasets.synsets import ARCHIVES, CLASS_COUNT, class_folders, has_archives, validation_folder

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision's trained weights


class Drawing(NamedTuple):
    """How the photographs are split and prepared; the words are those of `ImageNet`, `seed` is its `drawing`."""

    test: int
    validation: int
    resize: int
    greyscale: bool
    seed: int


def read(drawing: Drawing, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
    """Three disjoint streams over one folder of photographs, drawn at random once and for all."""
    place = validation_folder(folder) or _unpacked(folder)
    photographs = datasets.ImageFolder(place, transform=preparation(input_shape, drawing.resize, drawing.greyscale))
    spare = len(photographs) - drawing.test - drawing.validation
    if spare < 1:
        asked = f"{drawing.test:,} to test and {drawing.validation:,} to validate"
        raise DataError(f"{place} has {len(photographs):,} photographs; {asked} leave none to train: ask for fewer")
    order = torch.randperm(len(photographs), generator=torch.Generator().manual_seed(drawing.seed)).tolist()
    test, validation, train = torch.tensor(order).split([drawing.test, drawing.validation, spare])
    streams = [StreamSplit(Subset(photographs, rows.tolist())) for rows in (train, validation, test)]
    return Splits(streams[0], streams[1], streams[2], CLASS_COUNT, _fingerprint(photographs, place, order))


def preparation(input_shape: tuple[int, ...] | None, resize: int, greyscale: bool) -> transforms.Compose:
    """Shorter side to `resize`, the middle cut out, channels normalised as torchvision's trained weights expect."""
    channels, height, width = image_shape(input_shape)
    if channels != 3:
        raise DataError(f"photographs fit models with 3 input channels, got {channels}: choose another model")
    side = resize or round(max(height, width) / 0.875)
    if side < max(height, width):
        raise DataError(f"resize must be at least the model's input, {max(height, width)} pixels, got {resize}")
    grey = [transforms.Grayscale(3)] if greyscale else []
    cut = [transforms.Resize(side), transforms.CenterCrop((height, width))]
    return transforms.Compose([*grey, *cut, transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)])


def _unpacked(folder: Path) -> Path:
    """The validation folder that torchvision makes of the published archives, where they lie in `imagenet/`."""
    place = folder / "imagenet"
    if has_archives(folder):
        try:
            datasets.ImageNet(place, split="val")
        except (OSError, RuntimeError) as error:
            raise DataError(f"the archives in {place} cannot be unpacked ({error}): fetch them again") from error
    unpacked = validation_folder(folder)
    if unpacked is None:
        raise DataError(_way_out(folder))
    return unpacked


def _way_out(folder: Path) -> str:
    place = folder / "imagenet"
    found = len(class_folders(place / "val")) if (place / "val").is_dir() else 0
    seen = f" ({place / 'val'} has {found:,} class folders of 1,000)" if found else ""
    return (
        f"ImageNet is not in {folder}{seen} and cannot be fetched without an account: put {' and '.join(ARCHIVES)}, or "
        f"the folders val/n01440764 to val/n15075141, in {place}, or name their folder with --data-dir"
    )


def _fingerprint(photographs: datasets.ImageFolder, place: Path, order: list[int]) -> str:
    """SHA-256 over the names and sizes of all files and the split's order: reading 6 GB would take minutes a worker."""
    digest = hashlib.sha256()
    for path, _ in photographs.samples:
        file = Path(path)
        digest.update(f"{file.relative_to(place)} {file.stat().st_size}\n".encode())
    digest.update(repr(order).encode())
    return digest.hexdigest()
