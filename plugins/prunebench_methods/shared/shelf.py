"""Tensors that wait on disk, so that what is kept of a large network for later settings is not held beside it.

Decompositions and Gram matrices of all layers take one to two times the bytes of the network itself, and a method
reads those of one layer at a time. They lie in one file without a name, which is gone with the process however that
ends; places of what nobody refers to any more are used again.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from prunebench import Task, give_back_free, is_large
from torch import Tensor

TRIMMED_BYTES = 8 << 20  # put away, after which the C library is asked to let go of what it keeps free
TIDIED = 8  # layers after which a large network's freed work goes back to the system
LASTING = Path("/var/tmp")  # where /tmp is memory, this is not


class Shelf:
    """One file of tensors; it is made when something is put there."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = self._untrimmed = 0
        self._free: dict[int, list[int]] = {}  # bytes -> places of so many that are free again

    def put(self, tensors: Sequence[Tensor]) -> Kept:
        """The tensors, there; as they are where they lie on another device than the CPU, or the disk has no room."""
        if any(tensor.device.type != "cpu" for tensor in tensors):
            return Kept(tuple(tensors))
        try:
            return Kept(tuple(self._put(tensor.detach().contiguous()) for tensor in tensors))
        except OSError:
            return Kept(tuple(tensors))

    def trim(self, least: int = TRIMMED_BYTES) -> None:
        """Hand back to the system what was put away meanwhile: freed, it still is the process's."""
        if self._untrimmed >= least:
            self._untrimmed = 0
            give_back_free()

    def _put(self, tensor: Tensor) -> Place:
        size = tensor.numel() * tensor.element_size()
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=_folder(), buffering=0)  # noqa: SIM115 (it stays open)
            weakref.finalize(self, self._file.close)
        free = self._free.get(size)
        start = free.pop() if free else self._end
        self._end = max(self._end, start + size)
        self._untrimmed += size
        self._file.seek(start)
        left = tensor.reshape(-1).view(torch.uint8).numpy().data
        while left:
            left = left[self._file.write(left) :]
        place = Place(self, start, size, tensor.dtype, tensor.shape)
        weakref.finalize(place, self._free.setdefault(size, []).append, start)
        return place

    def read(self, start: int, into: Tensor) -> None:
        """The bytes from `start` on into a contiguous tensor."""
        assert self._file is not None
        left = into.reshape(-1).view(torch.uint8).numpy().data
        self._file.seek(start)
        while left:
            count = self._file.readinto(left)  # type: ignore[attr-defined]
            if not count:
                raise OSError("a temporary file has lost its end")
            left = left[count:]


def tidy(task: Task) -> None:
    """`give_back_free` where the network is large."""
    if shelf_of(task) is not None:
        give_back_free()


def _folder() -> str | None:
    """Where large files that last for a while belong; None leaves it to Python."""
    is_fit = "TMPDIR" not in os.environ and LASTING.is_dir() and os.access(LASTING, os.W_OK)
    return str(LASTING) if is_fit else None


@dataclass(frozen=True, eq=False)
class Place:
    """Where a tensor lies; its bytes are its own as long as this is referred to."""

    shelf: Shelf
    start: int
    nbytes: int
    dtype: torch.dtype
    shape: torch.Size

    def read(self, first: int | None = None) -> Tensor:
        """A new tensor: all of it, or its `first` rows."""
        found = torch.empty(self.shape if first is None else (first, *self.shape[1:]), dtype=self.dtype)
        self.shelf.read(self.start, found)
        return found

    def rows(self, chosen: Tensor) -> Tensor:
        """A new tensor (k, n) of rows of n, wherever they lie in it, ascending; neighbours are read together."""
        width = self.shape[-1]
        found, places = torch.empty(len(chosen), width, dtype=self.dtype), chosen.tolist()
        first = 0
        for last in range(1, len(places) + 1):
            if last == len(places) or places[last] != places[last - 1] + 1:
                self.shelf.read(self.start + places[first] * width * self.dtype.itemsize, found[first:last])
                first = last
        return found


@dataclass(frozen=True, eq=False)
class Kept:
    """Tensors, at hand or on a shelf."""

    parts: tuple[Tensor | Place, ...]

    def read(self) -> tuple[Tensor, ...]:
        """All of them; those at hand are shared, never write into them."""
        return tuple(part if isinstance(part, Tensor) else part.read() for part in self.parts)

    def rows(self, place: int, first: int | None = None) -> Tensor:
        """One of them, or its `first` rows, which alone are read; shared where it is at hand."""
        part = self.parts[place]
        if isinstance(part, Tensor):
            return part[:first]
        return part.read(None if first is None else min(first, part.shape[0]))

    def chosen_rows(self, place: int, chosen: Tensor) -> Tensor:
        """A new tensor of the chosen rows of one of them, ascending; those of all groups count as one list."""
        part = self.parts[place]
        return part.reshape(-1, part.shape[-1])[chosen] if isinstance(part, Tensor) else part.rows(chosen)


def shelf_of(task: Task) -> Shelf | None:
    """The shelf of the task's network; None where it is small, and everything is at hand."""
    weight_count = sum(shape.weight_count for shape in task.shapes)
    return task.once("shelf", Shelf) if is_large(weight_count) else None


def kept(task: Task, tensors: Sequence[Tensor]) -> Kept:
    """The tensors for later, on the shelf where the network is large."""
    shelf = shelf_of(task)
    if shelf is None:
        return Kept(tuple(tensors))
    shelf.trim(2 * TRIMMED_BYTES)  # each time costs as much as some decompositions
    return shelf.put(tensors)
