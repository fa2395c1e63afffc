"""Files of a corpus from where it is published, for machines with a network."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from prunebench import DataError

PATIENCE_SECONDS = 30  # that a server may stay silent


def fetch(title: str, urls: Mapping[str, str], folder: Path, way_out: str) -> None:
    """Put what the URLs hold into `folder`, under their names, one process at a time; what is there already stays.

    A file is renamed when it is whole, so that none is ever a part. Raises `DataError`, with the reason and `way_out`.
    """
    try:
        with one_process(folder):
            for name, url in urls.items():
                if not (folder / name).is_file():
                    _put(url, folder / name)
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(
            f"{title} is not in {folder} and could not be fetched ({reason_of(error)}): {way_out}, or name the folder "
            "above with --data-dir"
        ) from None


@contextmanager
def one_process(folder: Path) -> Iterator[None]:
    """Hold the right to fetch into `folder`, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".fetching").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def reason_of(error: BaseException) -> str:
    """Why something could not be fetched, in one line; the error's class where it says nothing."""
    lines = str(getattr(error, "reason", error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _put(url: str, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        with urlopen(url, timeout=PATIENCE_SECONDS) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file)
            told = answer.headers.get("Content-Length")
        if told is not None and part.stat().st_size != int(told):
            raise OSError(f"{url} ended after {part.stat().st_size:,} of {int(told):,} bytes")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
