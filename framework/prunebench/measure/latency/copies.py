"""Whether there is room for private copies of the networks that are timed, and what is done where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from prunebench import samples
from prunebench.measure.latency.placement import MOST_COPIED_BYTES
from prunebench.measure.latency.sides import Comparison
from prunebench.measure.memory_need import Hold, free_bytes, is_roomy, lack, need, weight_bytes, working_bytes
from prunebench.measure.weights import byte_count, stored


def held(asked: Comparison) -> Comparison:
    """The comparison as there is room for it: of copies, of the networks themselves, or of these in turns.

    Raises `torch.OutOfMemoryError` with the figures where not even that fits.
    """
    if asked.protocol.runtime not in ("torch", "torch_compile"):
        return asked
    sizes = weight_bytes(asked.dense), weight_bytes(asked.pruned)
    free = free_bytes(asked.device)
    if is_roomy(free, sum(sizes)):
        return asked
    pairs = zip((asked.dense, asked.pruned), asked.inputs, strict=True)
    working = max(working_bytes(network, x, asked.device) for network, x in pairs)
    copies = sum(_timed_bytes(network, asked.protocol.dtype) for network in (asked.dense, asked.pruned))
    if copies <= MOST_COPIED_BYTES and not asked.protocol.compile:
        copies *= 2  # each round has new ones, made before the last ones go
    limit = free + sum(sizes)
    for hold in _holds(asked):
        needed = need(*sizes, working, hold, copies=copies)
        if needed.total <= limit:
            return replace(asked, hold=hold)
    raise lack(f"timing a batch of {samples.count(asked.x)}", needed, asked.device, limit)


def _holds(asked: Comparison) -> Iterator[Hold]:
    """What is possible, the better first: nothing may be changed of networks that are not copies."""
    yield "copies"
    if _are_ready(asked):
        yield "shared"
        if asked.device.type != "cpu":
            yield "turns"


def _are_ready(asked: Comparison) -> bool:
    """Whether both networks can be timed as they are by this protocol."""
    protocol = asked.protocol
    has_images = any(leaf.ndim == 4 for x in asked.inputs for leaf in samples.leaves(x) if samples.count(x))
    is_plain = protocol.memory_format == "contiguous" or (protocol.memory_format == "fastest" and not has_images)
    if protocol.compile or protocol.runtime != "torch" or protocol.in_place or not is_plain:
        return False
    tensors = [*stored(asked.dense).values(), *stored(asked.pruned).values()]
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return protocol.dtype == "float32" or kinds <= {getattr(torch, protocol.dtype)}


def _timed_bytes(network: nn.Module, dtype: str) -> int:
    """Of a copy in the type that the protocol times in; float32 leaves types as they are."""
    size = getattr(torch, dtype).itemsize
    return sum(
        tensor.numel() * size if tensor.is_floating_point() and dtype != "float32" else byte_count(tensor)
        for tensor in stored(network).values()
    )
