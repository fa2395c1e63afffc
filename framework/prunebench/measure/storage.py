"""What a network takes on disk, in the formats that a reader would think of."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from prunebench.measure import weights

HEADER_BYTES = 80  # of safetensors, a tensor: name, type, shape and offsets as JSON
EXACT_GZIP_BYTES = 32 << 20  # above it, evenly spaced pieces are compressed and the rest is extrapolated
PIECE_BYTES = 1 << 20
GZIP_LEVEL = 1  # on weights level 6 costs three times as much and saves less than one percent


def sizes(network: nn.Module, method_storage: Mapping[str, int]) -> tuple[int, int, dict[str, int]]:
    """Stored bytes (the smallest format), gzip bytes of the dense format, and bytes by format.

    `dense` is the weights as safetensors, `csr` has each matrix as compressed sparse rows where that is smaller;
    `method_storage` adds the formats that the method itself knows.
    """
    tensors = list(_distinct(weights.stored(network).values()))
    formats = {**method_storage, "dense": _dense_bytes(tensors)}
    formats["csr"] = 8 + sum(HEADER_BYTES + _csr_bytes(tensor) for tensor in tensors)
    return min(formats.values()), gzip_bytes(tensors), formats


def stored_byte_count(network: nn.Module) -> int:
    """Bytes of all that `network` keeps, as a safetensors file would hold it: the format `dense` of every row.

    Parameters, buffers (those that a `state_dict` leaves out, too: the network does not run without them) and tensors
    in plain attributes, each once, with a header. What a format of a method's own saves is taken off this.
    """
    return _dense_bytes(list(_distinct(weights.stored(network).values())))


def _dense_bytes(tensors: Sequence[Tensor]) -> int:
    return 8 + sum(HEADER_BYTES + weights.byte_count(tensor) for tensor in tensors)


def _distinct(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Each tensor once, although tied weights go by several names."""
    seen: set[tuple[int, torch.Size, tuple[int, ...]]] = set()
    for tensor in tensors:
        if tensor.layout == torch.strided and not tensor.is_quantized and tensor.numel():
            key = (tensor.data_ptr(), tensor.shape, tensor.stride())
            if key in seen:
                continue
            seen.add(key)
        yield tensor


def _csr_bytes(tensor: Tensor) -> int:
    """Values, column indices of two bytes where they suffice, and row starts; dense bytes where those are fewer."""
    dense = weights.byte_count(tensor)
    if tensor.ndim < 2 or tensor.layout != torch.strided or not tensor.numel():
        return dense
    columns = tensor[0].numel()
    index = 2 if columns <= 1 << 16 else 4
    nonzero = int(torch.count_nonzero(weights.values_of(tensor)))
    return min(dense, nonzero * (tensor.element_size() + index) + (len(tensor) + 1) * 4)


def gzip_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes after gzip; above 32 MiB estimated from evenly spaced pieces that add up to 32 MiB."""
    plain = [tensor.int_repr() if tensor.is_quantized else weights.values_of(tensor) for tensor in tensors]
    total = sum(weights.byte_count(tensor) for tensor in plain)
    step, read, packed = max(1, -(-total // EXACT_GZIP_BYTES)), 0, 0
    for piece in _pieces(plain, step):
        read += len(piece)
        packed += len(zlib.compress(piece, GZIP_LEVEL))
    return round(packed * total / read) if read else 0


def _pieces(tensors: Iterable[Tensor], step: int) -> Iterator[memoryview]:
    """Each `step`-th piece of all tensors together; one tensor at a time comes to the host, and only if it has one."""
    first = 0  # the next piece of all that is read
    for tensor in tensors:
        count = -(-weights.byte_count(tensor) // PIECE_BYTES)
        if first < count:
            raw = weights.raw_bytes(tensor).numpy().data
            yield from (raw[PIECE_BYTES * at : PIECE_BYTES * (at + 1)] for at in range(first, count, step))
            first += -(-(count - first) // step) * step
        first -= count
