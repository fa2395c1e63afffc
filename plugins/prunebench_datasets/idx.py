"""MNIST and EMNIST letters: IDX files, plain or gzipped, as they are published."""

from __future__ import annotations

import gzip
import math
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from prunebench import DataError
from torch import Tensor
from torchvision import datasets

from prunebench_datasets.fetching import one_process, reason_of
from prunebench_datasets.images import Part, Parts
from prunebench_datasets.places import MNIST, Source

SPLIT_SEED = 20
PATIENCE_SECONDS = 30  # that a server may stay silent while a file is fetched


def read(source: Source, folder: Path) -> Parts:
    """The three parts, fetched first where they are not there; the validation part is drawn at random, once."""
    if not source.is_here(folder):
        _fetch(source, folder)
    train_images, train_labels, test_images, test_labels = (_array(source, folder, name) for name in source.names)
    whole = _part(source, train_images, train_labels)
    order = torch.randperm(len(whole.labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    validation = len(order) // source.validation_share
    return Parts(
        train=whole.take(order[validation:]),
        validation=whole.take(order[:validation]),
        test=_part(source, test_images, test_labels),
    )


def _part(source: Source, images: Tensor, labels: Tensor) -> Part:
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        shapes = f"images {tuple(images.shape)}, labels {tuple(labels.shape)}"
        raise DataError(f"the files of {source.title} do not belong together: {shapes}; delete them and fetch again")
    return Part(images, labels.long() - source.first_label)


def _array(source: Source, folder: Path, name: str) -> Tensor:
    path = source.file(folder, name)
    if path is None:
        raise DataError(_way_out(source, folder, f"{name} is missing"))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return parse_idx(file.read())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path} is not a readable IDX file ({error}): delete it and it will be fetched again"
        ) from error


def parse_idx(data: bytes) -> Tensor:
    """The uint8 array in an IDX file: two zero bytes, type 8, how many axes, their lengths big-endian, the data."""
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise ValueError(f"starts with {data[:4].hex()}, not with 000008")
    axes = data[3]
    start = 4 + 4 * axes
    shape = tuple(int(length) for length in np.frombuffer(data[4:start], dtype=">u4"))
    if len(data) != start + math.prod(shape):
        raise ValueError(f"{len(data) - start:,} bytes of data for shape {shape}")
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape).copy())


def _fetch(source: Source, folder: Path) -> None:
    """Let torchvision download and unpack, one process at a time."""
    try:
        with _timeout(PATIENCE_SECONDS), one_process(folder):
            if source.is_here(folder):
                return
            if source is MNIST:
                datasets.MNIST(folder, download=True)
            else:
                datasets.EMNIST(folder, split="letters", download=True)
    except (OSError, RuntimeError, ValueError, EOFError, zlib.error) as error:
        raise DataError(_way_out(source, folder, f"could not be fetched ({reason_of(error)})")) from error


def _way_out(source: Source, folder: Path, why: str) -> str:
    place = folder / source.folders[0]
    files = ", ".join(f"{name}.gz" for name in source.names)
    whole = f" (or {Path(source.archive).name})" if source.archive else ""
    return f"{source.title}: {why}: put {files}{whole} in {place}, or name their folder with --data-dir"


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """A silent server is an error within `seconds` instead of a wait without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
