"""Whole numbers that must be exact: weights of a share, bits of a code, bytes of a stream."""

from __future__ import annotations

import math
from fractions import Fraction

VALUE_BYTES = 4  # of a value where nothing else is said: float32


def kept_count(keep: float, count: int) -> int:
    """`ceil(keep * count)` of the decimal number as it is written: 0.05 of 100 is 5, where floats may say 6."""
    return math.ceil(Fraction(repr(float(keep))) * count)


def share_after(done: int, rounds: int, keep: float) -> float:
    """What is kept after `done` of `rounds` rounds that each keep the same share of what is left."""
    return keep if done == rounds else keep ** (done / rounds)


def index_bits(symbol_count: int) -> int:
    """Bits that tell `symbol_count` symbols apart: `ceil(log2 k)`, none for a single one."""
    return max(symbol_count - 1, 0).bit_length()


def packed_byte_count(count: int, bits: int) -> int:
    """Bytes of `count` numbers of `bits` bits, packed."""
    return -(-count * bits // 8)


def quantized_byte_count(rows: int, columns: int, width: int, clusters: int, value_bytes: int = VALUE_BYTES) -> int:
    """Bytes of `ceil(log2 k)` bits for each row in each group of `width` columns, and of k rows of values."""
    groups = -(-columns // width)
    return packed_byte_count(groups * rows, index_bits(clusters)) + value_bytes * clusters * columns
