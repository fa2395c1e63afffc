"""Images and labels in Parquet files, as Hugging Face's `datasets` stores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from prunebench import DataError

from prunebench_datasets.decode import decoded
from prunebench_datasets.image_split import Labelled
from prunebench_datasets.images import image_shape


def read(folder: Path, image: str, label: str, input_shape: tuple[int, ...] | None) -> tuple[Labelled, Labelled]:
    """Training images and test images; those of `validation-*.parquet` where there is no test file."""
    train = _files(folder, "train")
    test = _files(folder, "test") or _files(folder, "validation")
    for files, kind in ((train, "train"), (test, "test")):
        if not files:
            raise DataError(f"{folder} has no {kind}-*.parquet: name the folder of a data set in Hugging Face's layout")
    return _labelled(train, image, label, input_shape), _labelled(test, image, label, input_shape)


def _files(folder: Path, split: str) -> list[Path]:
    return sorted(folder.glob(f"**/{split}-*.parquet"))


def _labelled(files: list[Path], image: str, label: str, input_shape: tuple[int, ...] | None) -> Labelled:
    channels, height, width = image_shape(input_shape)
    images, labels = [], []
    for file in files:
        for row, (value, kind) in enumerate(_rows(file, image, label)):
            data = value.get("bytes") if isinstance(value, dict) else value
            where = f"row {row} of {file}"
            if not isinstance(data, bytes):
                raise DataError(
                    f"{where}: column {image!r} has no bytes of an image: files that name paths are not read"
                )
            if isinstance(kind, bool) or not isinstance(kind, int) or kind < 0:
                raise DataError(f"{where}: the label must be a whole number from 0, got {kind!r}")
            images.append(decoded(data, where, (height, width), channels))
            labels.append(kind)
    if not images:
        raise DataError(f"{files[0].parent} has no rows in {files[0].name.split('-')[0]}-*.parquet")
    return Labelled(torch.stack(images), torch.tensor(labels))


def _rows(file: Path, image: str, label: str) -> list[tuple[Any, Any]]:
    import polars as pl

    try:
        frame = pl.read_parquet(file, columns=[image, label])
    except pl.exceptions.ColumnNotFoundError:
        have = ", ".join(pl.read_parquet_schema(file))
        raise DataError(f"{file} has no columns {image!r} and {label!r}; it has {have}") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file} is not a readable Parquet file ({str(error).splitlines()[0]})") from error
    return list(zip(frame[image].to_list(), frame[label].to_list(), strict=True))
