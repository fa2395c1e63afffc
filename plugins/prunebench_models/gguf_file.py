"""What a GGUF file holds, read in one walk: fields as plain values, tensors where they lie.

The reader of the package `gguf` makes two arrays a string, half a million for a vocabulary and its merges: seconds,
and a heap in pieces. Dequantizing stays the package's.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
ALIGNMENT = 32  # where the file names no other


@dataclass(frozen=True)
class Stored:
    """One tensor of the file; `kind` is a number of ggml's list of types."""

    file: Path
    name: str
    shape: tuple[int, ...]  # as numpy has it: rows first
    kind: int
    start: int

    def raw(self, blocks: Callable[[int], tuple[int, int]]) -> np.ndarray[Any, Any]:
        """Its bytes, one row of the tensor a row, uint8; `blocks` says of a type how many values take how many bytes.

        Raises ValueError where the file ends before, or a row is no whole number of blocks.
        """
        size, held = blocks(self.kind)
        if self.shape[-1] % size:
            raise ValueError(f"rows of {self.name} have {self.shape[-1]} values, not a multiple of {size}")
        found = np.empty((*self.shape[:-1], self.shape[-1] // size * held), dtype=np.uint8)
        with self.file.open("rb", buffering=0) as stream:
            stream.seek(self.start)
            left = found.reshape(-1).data
            while left:
                count = stream.readinto(left)
                if not count:
                    raise ValueError(f"it ends within {self.name}")
                left = left[count:]
        return found


@dataclass(frozen=True)
class Gguf:
    """Fields by name, and tensors in their order."""

    fields: Mapping[str, Any]
    tensors: tuple[Stored, ...]


def read(file: Path) -> Gguf:
    """All but the tensors' bytes; raises ValueError for what is no little-endian GGUF of versions 2 or 3."""
    with file.open("rb") as stream:
        walk = _Walk(stream, file.stat().st_size)
        if walk.take(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = walk.scalar("I")
        if version not in VERSIONS:
            raise ValueError(f"version {version} is none of {VERSIONS}")
        tensor_count, field_count = walk.scalar("Q"), walk.scalar("Q")
        fields = {}
        for _ in range(field_count):
            name = walk.text()
            fields[name] = walk.value(walk.scalar("I"))
        infos = [_info(walk) for _ in range(tensor_count)]
        step = int(fields.get("general.alignment", ALIGNMENT))
        if step <= 0:
            raise ValueError(f"general.alignment is {step}")
        data = -(-stream.tell() // step) * step
    return Gguf(fields, tuple(Stored(file, name, shape, kind, data + start) for name, shape, kind, start in infos))


def _info(walk: _Walk) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape, type and place of a tensor; the file has the dimension that changes fastest first."""
    name = walk.text()
    shape = tuple(walk.scalar("Q") for _ in range(walk.scalar("I")))[::-1]
    if not shape or math.prod(shape) > walk.size * 8:
        raise ValueError(f"the shape {shape} of {name} does not fit the file")
    return name, shape, walk.scalar("I"), walk.scalar("Q")


@dataclass(frozen=True)
class _Walk:
    """Values one after another; each raises ValueError where the file ends before."""

    stream: IO[bytes]
    size: int  # of the file

    def take(self, count: int) -> bytes:
        """So many bytes."""
        found = self.stream.read(count) if count <= self.size else b""
        if len(found) != count:
            raise ValueError("it ends early")
        return found

    def scalar(self, code: str) -> Any:
        """One number, as `struct` names its type."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        """A string behind its length."""
        return self.take(self.scalar("Q")).decode()

    def value(self, kind: int) -> Any:
        """Of a field of this type: a number, a string, or a list of them."""
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            inner, count = self.scalar("I"), self.scalar("Q")
            if inner in SCALARS:
                code = SCALARS[inner]
                return list(struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize("<" + code))))
            if count > self.size:
                raise ValueError("it ends early")
            return [self.value(inner) for _ in range(count)]
        if kind not in SCALARS:
            raise ValueError(f"a field has the unknown type {kind}")
        return self.scalar(SCALARS[kind])
