"""Bytes of a network by format, as a file would hold it: numbers, and a header for every tensor.

`dense`: every parameter and buffer as it is. The others store the weights of linear layers and 2-D convolutions
differently and everything else dense, tensor by tensor whichever of the format and dense is smaller:
`bitmap`: a bit per weight, then the nonzero values. `relative`: relative indices of 8 bits (convolutions) or 5 bits
(linear layers) beside each nonzero value, fillers included. `codebook`: where values are shared, as indices into the
tensor's distinct ones, of all weights or beside relative indices. `huffman`: those streams Huffman coded, code
lengths included.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from prunebench import stored_byte_count
from torch import Tensor, nn

from prunebench_methods.shared.exact import index_bits, packed_byte_count
from prunebench_methods.shared.huffman import huffman_byte_count
from prunebench_methods.shared.sparse import CONV_INDEX_BITS, FC_INDEX_BITS, gap_counts

MAX_CODEBOOK = 1 << 16
SAMPLE = 4 * MAX_CODEBOOK  # weights that are looked at first, since most networks share nothing
PIECE = 1 << 20  # of the others, that are looked at together
HEADER_BYTES = 80  # name, type, shape and place of a tensor, as safetensors has them
SHARED_FORMATS = ("codebook", "huffman")
FORMATS = ("bitmap", "relative", "codebook", "huffman")


def storage_formats(network: nn.Module) -> dict[str, int]:
    """Bytes by format; one that saves nothing on the format that it refines is left out."""
    dense = dense_byte_count(network)
    sizes = [weight_byte_counts(weight, bits) for weight, bits in _weights(network)]
    saved = {name: sum(size["dense"] - size[name] for size in sizes) for name in FORMATS}
    floor = {name: saved["relative"] if name in SHARED_FORMATS else 0 for name in FORMATS}
    return {"dense": dense, **{name: dense - saved[name] for name in FORMATS if saved[name] > floor[name]}}


def dense_byte_count(network: nn.Module) -> int:
    """Bytes of all tensors that the network keeps, shared ones once, with their headers: what the framework counts."""
    return stored_byte_count(network)


def _weights(network: nn.Module) -> Iterator[tuple[Tensor, int]]:
    """Each weight (or the 8-bit `codes` in its place) once, with the bits of its relative indices.

    A weight that is computed from other tensors is not stored, and so saves nothing.
    """
    seen: set[tuple[int, torch.Size]] = set()
    for module in network.modules():
        is_layer = isinstance(module, (nn.Linear, nn.Conv2d))
        weight = module._parameters.get("weight") if is_layer else getattr(module, "codes", None)
        if isinstance(weight, Tensor) and weight.numel() and (weight.data_ptr(), weight.shape) not in seen:
            seen.add((weight.data_ptr(), weight.shape))
            yield weight, CONV_INDEX_BITS if weight.ndim > 2 else FC_INDEX_BITS


def weight_byte_counts(weight: Tensor, bits: int) -> dict[str, int]:
    """Bytes of one weight tensor in every format, none above the format that it refines."""
    flat = as_vector(weight)
    width = weight.element_size()
    gaps = gap_counts(flat, bits)
    dense = len(flat) * width
    bitmap = min(dense, -(-len(flat) // 8) + int(np.count_nonzero(flat)) * width)
    entries = int(gaps.sum())
    plain = min(dense, packed_byte_count(entries, bits) + entries * width)
    shared = _shared_byte_counts(flat, gaps, bits, width)
    refined = {name: min(plain, shared.get(name, plain)) for name in SHARED_FORMATS}
    return {"dense": dense, "bitmap": bitmap, "relative": plain, **refined}


def as_vector(weight: Tensor) -> NDArray[np.generic]:
    """The entries in row-major order, in float32 or better, on the CPU."""
    values = weight.detach().cpu()
    return values.to(torch.promote_types(values.dtype, torch.float32)).flatten().numpy()


def distinct(flat: NDArray[np.generic], most: int) -> tuple[NDArray[np.generic], NDArray[np.int64]] | None:
    """The distinct values, ascending, and how often each comes; None where there are more than `most`.

    Piece by piece: sorted whole, the embedding of a language model would be copied.
    """
    values, counts = np.unique(flat[:SAMPLE], return_counts=True)
    for start in range(SAMPLE, len(flat), PIECE):
        if len(values) > most:
            break
        own = np.unique(flat[start : start + PIECE], return_counts=True)
        values, places = np.unique(np.concatenate((values, own[0])), return_inverse=True)
        counts = np.bincount(places, weights=np.concatenate((counts, own[1]))).astype(np.int64)
    return None if len(values) > most else (values, counts)


def _shared_byte_counts(flat: NDArray[np.generic], gaps: NDArray[np.int64], bits: int, width: int) -> dict[str, int]:
    """Bytes with a codebook, with and without Huffman coding; nothing when the weights share too few values.

    `gaps` are those of relative indices: how often each comes.
    """
    most = min(MAX_CODEBOOK, int(np.count_nonzero(flat)) // 2)  # values come twice, or they are not shared
    found = distinct(flat, most)
    if found is None:
        return {}
    values, counts = found
    codes = index_bits(len(values))
    every = packed_byte_count(len(flat), codes)
    entries = int(gaps.sum())
    beside = packed_byte_count(entries, bits) + packed_byte_count(entries, codes)
    fillers = entries - int(counts[values != 0].sum())
    present = np.append(counts[values != 0], fillers)[: None if fillers else -1]
    coded = huffman_byte_count(present) + huffman_byte_count(gaps)
    book = len(values) * width
    return {"codebook": book + min(every, beside), "huffman": book + min(huffman_byte_count(counts), coded)}
