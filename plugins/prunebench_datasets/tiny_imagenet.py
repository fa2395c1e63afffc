"""Tiny ImageNet, from the published archive or its folder."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from prunebench import DataError

from prunebench_datasets.decode import decoded
from prunebench_datasets.image_split import Labelled

ROOT = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SIZE = (64, 64)


def read(folder: Path) -> tuple[Labelled, Labelled]:
    """Training images, and the published validation images as the test split."""
    names, open_file = _files(folder)
    kinds = {kind: number for number, kind in enumerate(_lines(open_file, f"{ROOT}/wnids.txt"))}
    if not kinds:
        raise DataError(f"{folder / ROOT}/wnids.txt names no classes: fetch {URL} again")
    train = [(name, kinds.get(name.split("/")[2], -1)) for name in names if _is_image(name, "train")]
    annotations = (line.split("\t") for line in _lines(open_file, f"{ROOT}/val/val_annotations.txt"))
    test = [(f"{ROOT}/val/images/{name}", kinds.get(kind, -1)) for name, kind, *_ in annotations]
    for listed, part in ((train, "train"), (test, "val")):
        if not listed:
            raise DataError(f"{folder / ROOT}/{part} has no images: fetch {URL} again")
        strange = [name for name, label in listed if label < 0]
        if strange:
            raise DataError(f"{strange[0]} is of a class that wnids.txt does not name: fetch {URL} again")
    return _decoded(train, open_file), _decoded(test, open_file)


def _is_image(name: str, part: str) -> bool:
    return name.startswith(f"{ROOT}/{part}/") and name.upper().endswith(".JPEG")


def _files(folder: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Names below the data folder, sorted, and what reads one of them."""
    unpacked, packed = folder / ROOT, folder / f"{ROOT}.zip"
    if unpacked.is_dir():
        names = sorted(path.relative_to(folder).as_posix() for path in unpacked.rglob("*") if path.is_file())
        return names, lambda name: (folder / name).read_bytes()
    if not packed.is_file():
        raise DataError(f"Tiny ImageNet is not in {folder}: put {URL} there, or name its folder with --data-dir")
    try:
        archive = zipfile.ZipFile(packed)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{packed} is damaged ({error}): delete it and fetch {URL} again") from error
    return sorted(archive.namelist()), archive.read


def _lines(open_file: Callable[[str], bytes], name: str) -> list[str]:
    try:
        return [line for line in open_file(name).decode().splitlines() if line.strip()]
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"{name} is missing or damaged ({error}): fetch {URL} again") from error


def _decoded(listed: list[tuple[str, int]], open_file: Callable[[str], bytes]) -> Labelled:
    images = torch.empty(len(listed), 3, *SIZE, dtype=torch.uint8)
    for row, (name, _) in enumerate(listed):
        try:
            data = open_file(name)
        except (OSError, KeyError) as error:
            raise DataError(f"{name} is missing ({error}): fetch {URL} again") from error
        images[row] = decoded(data, name, SIZE)
    return Labelled(images, torch.tensor([label for _, label in listed]))
