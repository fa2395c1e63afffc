"""Where the nonzero weights are, as relative indices of a few bits (Han, Mao, Dally, 2016, section 2).

A gap of more than 2**bits positions does not fit one index: a filler, an entry whose value is zero, stands in between.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PIECE = 1 << 20  # weights that are looked at together: positions take twice what float32 weights do
CONV_INDEX_BITS, FC_INDEX_BITS = 8, 5  # the paper's


class Relative(NamedTuple):
    """Entries in row-major order: positions since the last entry, less one, and values; fillers have value zero."""

    gaps: NDArray[np.int64]
    values: NDArray[np.generic]
    size: int  # of the tensor


def relative(flat: NDArray[np.generic], bits: int) -> Relative:
    """The nonzero entries of a vector, and the fillers that indices of `bits` bits need."""
    span = 1 << bits
    positions = np.flatnonzero(flat)
    steps = np.diff(positions, prepend=-1)  # at least 1
    fillers = (steps - 1) // span
    entries = np.cumsum(fillers + 1) - 1  # where each nonzero comes to stand
    gaps = np.full(len(positions) + int(fillers.sum()), span - 1, dtype=np.int64)
    gaps[entries] = (steps - 1) - fillers * span
    values = np.zeros(len(gaps), dtype=flat.dtype)
    values[entries] = flat[positions]
    return Relative(gaps, values, len(flat))


def gap_counts(flat: NDArray[np.generic], bits: int, piece: int = PIECE) -> NDArray[np.int64]:
    """(2**bits,): how many entries of `relative` have each gap, fillers included; counted piece by piece."""
    span, last = 1 << bits, -1
    counts = np.zeros(span, dtype=np.int64)
    for start in range(0, len(flat), piece):
        positions = start + np.flatnonzero(flat[start : start + piece])
        if len(positions):
            between = np.diff(positions, prepend=last) - 1
            counts += np.bincount(between % span, minlength=span)
            counts[-1] += int((between // span).sum())
            last = int(positions[-1])
    return counts


def restored(coded: Relative) -> NDArray[np.generic]:
    """The vector that `relative` was given."""
    flat = np.zeros(coded.size, dtype=coded.values.dtype)
    flat[np.cumsum(coded.gaps + 1) - 1] = coded.values
    return flat


def packed(numbers: NDArray[np.int64], bits: int) -> bytes:
    """Numbers below 2**bits, `bits` bits each, highest bit first."""
    places = np.arange(bits - 1, -1, -1)
    return np.packbits(((numbers[:, None] >> places) & 1).astype(np.uint8)).tobytes()


def unpacked(data: bytes, bits: int, count: int) -> NDArray[np.int64]:
    """The numbers that `packed` was given."""
    flags = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count * bits).astype(np.int64)
    return flags.reshape(count, bits) @ (1 << np.arange(bits - 1, -1, -1))
