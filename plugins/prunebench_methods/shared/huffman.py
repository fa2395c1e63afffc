"""Huffman coding of small integers, for real: canonical codes, a table of code lengths, a stream of bits."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int64]


@dataclass(frozen=True)
class Coded:
    """A stream: one byte of code length a possible symbol (0 for those that do not occur), then the bits."""

    lengths: bytes
    payload: bytes
    count: int  # symbols in the stream

    @property
    def byte_count(self) -> int:
        """Table and bits; the number of symbols is known from the layer's shape."""
        return len(self.lengths) + len(self.payload)


def code_lengths(counts: Symbols) -> Symbols:
    """Bits of the code of each symbol in an optimal prefix code, 0 for symbols that never occur.

    A single symbol needs one bit, since a code of no bits cannot be told from nothing.
    """
    lengths = np.zeros(len(counts), dtype=np.int64)
    heap = [(int(counts[symbol]), int(symbol), [int(symbol)]) for symbol in np.flatnonzero(counts)]
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        members = first[2] + second[2]
        lengths[members] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), members))
    return lengths


def canonical_codes(lengths: Symbols) -> Symbols:
    """The code of each symbol as a number of `lengths` bits: shorter before longer, then by symbol."""
    codes = np.zeros(len(lengths), dtype=np.int64)
    code, width = 0, 0
    for symbol in _canonical_order(lengths):
        code <<= int(lengths[symbol]) - width
        width = int(lengths[symbol])
        codes[symbol] = code
        code += 1
    return codes


def _canonical_order(lengths: Symbols) -> list[int]:
    return [int(symbol) for symbol in np.argsort(lengths, kind="stable") if lengths[symbol]]


def huffman_byte_count(counts: Symbols) -> int:
    """Bytes of `encode` for a stream with these counts, without coding it."""
    return len(counts) + -(-coded_bit_count(counts) // 8)


def coded_bit_count(counts: Symbols) -> int:
    """Bits of a stream with these counts in an optimal prefix code: the weights of all inner nodes of its tree, summed.

    Nodes of one weight are paired in one step. So the work grows with the number of different counts, and tens of
    thousands of symbols take no longer than a few.
    """
    weights, times = np.unique(counts[counts > 0], return_counts=True)
    if times.sum() == 1:
        return int(weights[0])  # a single symbol needs one bit
    left = dict(zip(weights.tolist(), times.tolist(), strict=True))  # nodes by weight
    heap = list(left)  # sorted, so a heap
    bits = 0
    while heap:
        weight = heap[0]
        pairs, is_odd = divmod(left.pop(weight), 2)
        heapq.heappop(heap)
        if pairs:
            bits += _joined(left, heap, 2 * weight, pairs)
        if is_odd and heap:
            partner = heap[0]
            left[partner] -= 1
            if not left[partner]:
                del left[partner]
                heapq.heappop(heap)
            bits += _joined(left, heap, weight + partner, 1)
    return bits


def _joined(left: dict[int, int], heap: list[int], weight: int, nodes: int) -> int:
    """Add `nodes` inner nodes of this weight; the bits that they stand for."""
    if weight not in left:
        heapq.heappush(heap, weight)
    left[weight] = left.get(weight, 0) + nodes
    return weight * nodes


def encode(symbols: Symbols, symbol_count: int) -> Coded:
    """The stream of `symbols`, each in [0, symbol_count)."""
    lengths = code_lengths(np.bincount(symbols, minlength=symbol_count))
    width = lengths[symbols]
    place = np.arange(width.sum()) - np.repeat(width.cumsum() - width, width)  # of each bit within its code
    codes = np.repeat(canonical_codes(lengths)[symbols], width)
    bits = (codes >> (np.repeat(width, width) - 1 - place)) & 1
    return Coded(lengths.astype(np.uint8).tobytes(), np.packbits(bits.astype(np.uint8)).tobytes(), len(symbols))


def decode(coded: Coded) -> Symbols:
    """The symbols that `encode` was given."""
    lengths = np.frombuffer(coded.lengths, dtype=np.uint8).astype(np.int64)
    codes = canonical_codes(lengths)
    symbol_of = {(int(lengths[symbol]), int(codes[symbol])): symbol for symbol in _canonical_order(lengths)}
    found: list[int] = []
    code, width = 0, 0
    bits = iter(np.unpackbits(np.frombuffer(coded.payload, dtype=np.uint8)).tolist())
    while len(found) < coded.count:
        code, width = code << 1 | next(bits), width + 1
        if (width, code) in symbol_of:
            found.append(symbol_of[width, code])
            code, width = 0, 0
    return np.array(found, dtype=np.int64)
