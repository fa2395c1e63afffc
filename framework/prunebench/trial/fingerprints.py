"""Whether tensors that many trials share are what they were: version counters, and a sample of their bytes.

An operation in place moves a tensor's version counter, through any view of it. What goes past the counter (`.data`,
NumPy, C) is seen in a sample: every byte of a small tensor, a fixed scatter of words of a large one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

WHOLE_BYTES = 1 << 14  # a tensor up to this size is compared byte by byte
SAMPLE_WORDS = 256  # of a larger one
DEPTH = 4  # of objects inside objects that are looked through

Sample = Callable[[], bytes]


@dataclass(frozen=True, eq=False)
class Mark:
    """One tensor or array, its version, and how to sample it; `name` is for people."""

    name: str
    value: Any
    version: int | None
    sample: Sample
    bytes_then: bytes

    @property
    def is_moved(self) -> bool:
        """Whether an operation in place has reached it since."""
        return self.version is not None and self.value._version != self.version

    @property
    def is_changed(self) -> bool:
        """Whether it moved, or its sampled bytes differ."""
        return self.is_moved or self.sample() != self.bytes_then


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Marks of all that was handed out."""

    marks: tuple[Mark, ...] = ()

    @classmethod
    def of(cls, named: Iterable[tuple[str, Any]]) -> Fingerprint:
        """Of every tensor and array inside the named values, which may be any tree of them."""
        return cls(tuple(marked(name, leaf) for name, value in named for leaf in leaves(value)))

    def moved(self) -> str:
        """The name of the first tensor that an operation in place has reached, else empty: nanoseconds a tensor."""
        return next((mark.name for mark in self.marks if mark.is_moved), "")

    def changed(self) -> str:
        """The name of the first one that is not what it was, else empty: microseconds a tensor."""
        return next((mark.name for mark in self.marks if mark.is_changed), "")


def marked(name: str, value: Tensor | np.ndarray[Any, Any]) -> Mark:
    """The mark of one tensor or array as it is now."""
    version = value._version if isinstance(value, Tensor) and not value.is_inference() else None
    sample = sampler(value)
    return Mark(name, value, version, sample, sample())


def sampler(value: Tensor | np.ndarray[Any, Any]) -> Sample:
    """A function that reads the same bytes of `value` each time."""
    if isinstance(value, np.ndarray):
        return _array_sampler(value)
    if value.layout != torch.strided or value.device.type == "meta" or value.is_quantized or not value.numel():
        return bytes
    stored = torch.empty(0, dtype=torch.uint8, device=value.device).set_(value.untyped_storage())
    if value.device.type == "cpu":
        return _array_sampler(stored.numpy())
    places = torch.from_numpy(_places(len(stored))).to(value.device)
    return lambda: stored[places].cpu().numpy().tobytes()


def _array_sampler(array: np.ndarray[Any, Any]) -> Sample:
    if array.nbytes <= WHOLE_BYTES:
        return array.tobytes
    if array.dtype == np.uint8 and array.ndim == 1 and array.flags.c_contiguous:  # the bytes of a storage
        array = array[: len(array) // 8 * 8].view(np.int64)
    places, flat = _places(array.size), array.reshape(-1) if array.flags.c_contiguous else array.flat
    return lambda: bytes(flat[places].tobytes())


def _places(count: int) -> np.ndarray[Any, Any]:
    """Where to look among `count` entries: scattered, so that no channel or row is always missed."""
    return np.sort(np.random.default_rng(0).integers(0, count, SAMPLE_WORDS))


def leaves(value: Any, depth: int = DEPTH) -> Iterator[Tensor | np.ndarray[Any, Any]]:
    """Every tensor and array inside `value`: mappings, sequences, dataclasses, networks, data sets, any pytree."""
    if isinstance(value, Tensor | np.ndarray):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
        yield from value.buffers()
    elif depth and not isinstance(value, str | bytes | int | float | type(None)):
        for inner in _inside(value):
            yield from leaves(inner, depth - 1)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, item.name) for item in dataclasses.fields(value)]
    inner, _ = _pytree.tree_flatten(value)
    if len(inner) == 1 and inner[0] is value:
        return list(getattr(value, "__dict__", {}).values())
    return inner


def storages(value: Any) -> Iterator[int]:
    """Addresses of the memory behind every tensor and array inside `value`."""
    for leaf in leaves(value):
        if isinstance(leaf, np.ndarray):
            yield leaf.__array_interface__["data"][0]
        elif leaf.layout == torch.strided and leaf.numel() and leaf.device.type != "meta":
            yield leaf.untyped_storage().data_ptr()


def give_own_memory(network: nn.Module, taken: frozenset[int] | set[int]) -> None:
    """Copy the parameters and buffers of `network` that lie in memory at `taken` addresses; ties stay tied."""
    copies: dict[int, torch.UntypedStorage] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_inference() or not tensor.numel():
            continue
        address = tensor.untyped_storage().data_ptr()
        if address in taken:
            own = copies.setdefault(address, tensor.untyped_storage().clone())
            place = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            tensor.data = place.set_(own, tensor.storage_offset(), tensor.size(), tensor.stride())
