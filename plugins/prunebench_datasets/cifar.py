"""CIFAR-10 and CIFAR-100 from the publisher's archives: binary, or Python's without running any code."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from prunebench import DataError
from torchvision import datasets

from prunebench_datasets.fetching import reason_of
from prunebench_datasets.image_split import Labelled
from prunebench_datasets.places import CIFAR, CifarSource

PIXELS = 3 * 32 * 32


class Layout(NamedTuple):
    """Files of the training and of the test images, and bytes of labels before each image of the binary form."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int  # the last of them counts: CIFAR-100 has a coarse label in front


BINARY = {
    "cifar10": Layout(tuple(f"data_batch_{n}.bin" for n in range(1, 6)), ("test_batch.bin",), 1),
    "cifar100": Layout(("train.bin",), ("test.bin",), 2),
}
PYTHON = {
    "cifar10": Layout(tuple(f"data_batch_{n}" for n in range(1, 6)), ("test_batch",), 0),
    "cifar100": Layout(("train",), ("test",), 0),
}


def read(name: str, folder: Path) -> tuple[Labelled, Labelled]:
    """Training and test images of `name`, from the first of its archives and folders that is there; else fetched."""
    source = CIFAR[name]
    if not source.found(folder):
        _fetch(name, source, folder)
    place, is_binary = source.found(folder)[0]
    layout = (BINARY if is_binary else PYTHON)[name]
    parse = _binary if is_binary else _python
    try:
        open_file = _opener(place)
        train, test = (
            _joined([parse(open_file(file), layout) for file in files]) for files in (layout.train, layout.test)
        )
    except KeyError as error:
        raise DataError(
            f"{place} lacks {error.args[0]}: it is not the whole of {name}; fetch {source.url} again"
        ) from None
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError, pickle.UnpicklingError) as error:
        raise DataError(f"{place} is damaged ({error}): delete it and fetch {source.url} again") from error
    return train, test


def _opener(place: Path) -> Callable[[str], bytes]:
    """Reads a file by its bare name, from a folder or from an archive."""
    if place.is_dir():
        return lambda name: _from_folder(place, name)
    with tarfile.open(place) as archive:
        members = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
        held = {name: file.read() for name, file in members.items() if file is not None}
    return lambda name: held[name]


def _from_folder(place: Path, name: str) -> bytes:
    if not (place / name).is_file():
        raise KeyError(name)
    return (place / name).read_bytes()


def _binary(data: bytes, layout: Layout) -> Labelled:
    width = layout.label_bytes + PIXELS
    if not data or len(data) % width:
        raise ValueError(f"{len(data):,} bytes are no whole number of images of {width:,} bytes")
    rows = torch.from_numpy(np.frombuffer(data, dtype=np.uint8).reshape(-1, width).copy())
    return Labelled(rows[:, layout.label_bytes :].reshape(-1, 3, 32, 32), rows[:, layout.label_bytes - 1].long())


def _python(data: bytes, layout: Layout) -> Labelled:
    table = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    labels = table.get(b"labels", table.get(b"fine_labels")) if isinstance(table, dict) else None
    images = table.get(b"data") if isinstance(table, dict) else None
    if labels is None or not isinstance(images, np.ndarray) or images.shape != (len(labels), PIXELS):
        raise ValueError("it holds no images with labels")
    return Labelled(torch.from_numpy(images.copy()).reshape(-1, 3, 32, 32), torch.tensor(labels, dtype=torch.int64))


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds arrays, numbers, texts and containers, and refuses to name anything else."""

    ALLOWED = {"_reconstruct", "ndarray", "dtype", "_frombuffer"}

    def find_class(self, module: str, name: str) -> Any:
        """numpy's array constructors; raises UnpicklingError for everything else."""
        if module.split(".")[0] == "numpy" and name in self.ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no data set needs")


def _joined(parts: list[Labelled]) -> Labelled:
    return Labelled(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def _fetch(name: str, source: CifarSource, folder: Path) -> None:
    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kind(folder, download=True)
    except (OSError, RuntimeError, EOFError, zlib.error) as error:
        raise DataError(
            f"{name} is not in {folder} and could not be fetched ({reason_of(error)}): put {source.url} there, "
            f"or name its folder with --data-dir"
        ) from error
