"""Images in a folder for each class, in whatever sizes and formats they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from prunebench import DataError, Splits

from prunebench_datasets.decode import decoded
from prunebench_datasets.image_split import Labelled, scaled
from prunebench_datasets.places import is_image_name

Files = dict[str, list[Path]]  # class -> its images, both in the order of their names
NAMED = 5  # damaged files that one line names
SPLITS = ("train", "validation", "test")


def read(data: Any, input_shape: tuple[int, ...] | None, place: Path) -> Splits:
    """The splits below `place`; raises `DataError` with the names of folders and files that cannot be used."""
    parts = _divided(place) if (place / "train").is_dir() else {"": _classes(place)}
    classes = sorted(parts.get("train", parts.get("", {})))
    if len(classes) < 2:
        raise DataError(f"{place} has {len(classes)} folders of images: it needs one for each class, at least two")
    shape = _shape(input_shape, parts, data.size, place)
    tagged = {name: _tagged(files, classes, place / name) for name, files in parts.items()}
    order = torch.Generator().manual_seed(data.drawing)
    if "" in tagged:
        drawn = _drawn(tagged[""], classes, place, (data.validation_share, data.test_share), order)
    else:
        drawn = _with_validation(tagged, data.validation_share, place, order)
    whole = _read_all([file for name in SPLITS for file in drawn[name]], shape)
    sizes = [len(drawn[name]) for name in SPLITS]
    images = whole.split(sizes)
    labels = [torch.tensor([label for _, label in drawn[name]]) for name in SPLITS]
    return scaled([Labelled(*pair) for pair in zip(images, labels, strict=True)], shape, len(classes))


def _divided(place: Path) -> dict[str, Files]:
    """The classes of `train`, `test` and, where there is one, `validation` (or `val`)."""
    val = next((name for name in ("validation", "val", "valid") if (place / name).is_dir()), "")
    test = "test" if (place / "test").is_dir() else val
    if not test:
        raise DataError(f"{place} has a folder `train` and no `test`: add it, or put the classes into {place} itself")
    found = {"train": _classes(place / "train"), "test": _classes(place / test)}
    return found | ({"validation": _classes(place / val)} if val and val != test else {})


def _classes(place: Path) -> Files:
    """The images of each folder in `place`, those in folders below it too; raises for a folder without one."""
    try:
        folders = sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{place} cannot be read ({error.strerror}): name the folder that holds the classes") from error
    found = {folder.name: sorted(_images(folder)) for folder in folders}
    if empty := [name for name, files in found.items() if not files]:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise DataError(f"{place / empty[0]}{more} has no image: remove the folder, or put images of its class into it")
    return found


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if is_image_name(path.name) and path.is_file())


def _tagged(files: Files, classes: Sequence[str], place: Path) -> list[tuple[Path, int]]:
    if strange := sorted(set(files) - set(classes)):
        raise DataError(f"{place / strange[0]} is of a class that the training images do not have: they have {classes}")
    return [(path, classes.index(name)) for name, paths in files.items() for path in paths]


def _drawn(
    tagged: Sequence[tuple[Path, int]],
    classes: Sequence[str],
    place: Path,
    shares: tuple[float, float],
    order: torch.Generator,
) -> Mapping[str, list[tuple[Path, int]]]:
    """Of each class at random the same shares, at least one image a split; every split in random order."""
    found: dict[str, list[tuple[Path, int]]] = {name: [] for name in SPLITS}
    for label, name in enumerate(classes):
        own = _shuffled([one for one in tagged if one[1] == label], order)
        validation, test = (max(1, round(share * len(own))) for share in shares)
        if len(own) <= validation + test:
            raise DataError(
                f"{place / name} has {len(own)} images: {validation} to validate and {test} to test leave none to train"
            )
        found["test"] += own[:test]
        found["validation"] += own[test : test + validation]
        found["train"] += own[test + validation :]
    return {name: _shuffled(rows, order) for name, rows in found.items()}


def _with_validation(
    tagged: Mapping[str, list[tuple[Path, int]]], share: float, place: Path, order: torch.Generator
) -> Mapping[str, list[tuple[Path, int]]]:
    """The folders' own splits in random order; validation images are taken from training where they have none."""
    mixed = {name: _shuffled(rows, order) for name, rows in tagged.items()}
    if "validation" in mixed:
        return mixed
    count = max(1, round(share * len(mixed["train"])))
    if count >= len(mixed["train"]):
        raise DataError(f"{place / 'train'} has {len(mixed['train'])} images: {count} to validate leave none to train")
    return mixed | {"validation": mixed["train"][:count], "train": mixed["train"][count:]}


def _shuffled(rows: Sequence[tuple[Path, int]], order: torch.Generator) -> list[tuple[Path, int]]:
    return [rows[place] for place in torch.randperm(len(rows), generator=order).tolist()]


def _shape(
    input_shape: tuple[int, ...] | None, parts: Mapping[str, Files], size: int, place: Path
) -> tuple[int, int, int]:
    """(C, H, W) of the model; of one that takes any, `size` or that of all images, in colour where one is."""
    if input_shape is not None:
        if len(input_shape) != 3 or input_shape[0] not in (1, 3):
            raise DataError(f"images need a model whose input is (1 or 3, H, W), got {input_shape}: choose another one")
        channels, height, width = input_shape
        return channels, height, width
    heads = [_head(path) for files in parts.values() for paths in files.values() for path in paths]
    channels = 3 if any(is_colour for _, is_colour in heads) else 1
    sizes = sorted({found for found, _ in heads})
    if not size and len(sizes) > 1:
        small, large = (f"{w}×{h}" for w, h in (sizes[0], sizes[-1]))
        raise DataError(f"{place} has images of {len(sizes)} sizes, {small} to {large}: say size = 32, or another side")
    width, height = (size, size) if size else sizes[0]
    return channels, height, width


def _head(path: Path) -> tuple[tuple[int, int], bool]:
    """Width and height, and whether there is colour; of an unreadable file 0, which is named when it is decoded."""
    try:
        with Image.open(path) as image:
            return image.size, image.mode not in ("L", "1", "LA") and not image.mode.startswith("I")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return (0, 0), False


def _read_all(files: Sequence[tuple[Path, int]], shape: tuple[int, int, int]) -> torch.Tensor:
    """(N, C, H, W) uint8; raises with the names of all that cannot be read."""
    images, faults = [], []
    for path, _ in files:
        try:
            images.append(decoded(path.read_bytes(), str(path), shape[1:], shape[0]))
        except (DataError, OSError) as error:
            faults.append(str(error))
    if faults:
        more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise DataError("; ".join(sorted(faults)[:NAMED]) + more)
    return torch.stack(images)
