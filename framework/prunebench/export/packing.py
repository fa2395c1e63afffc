"""Weights in as few bytes as hold them exactly: zeros left out, values that come often as codes, grids of few bits.

Nothing is rounded: of every way that gives the tensor back value by value the smallest is taken, so that a mask, a
codebook or a grid that a method left in the weights is found without asking the method. A layer whose weight lies on a
grid says so by its buffers: `grid_scales` (out, G), `grid_zeros` (out, G) if any, `grid_inputs` (groups, n) if any; the
weight is scale · (code - zero) / input.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FEW = 64  # entries: smaller tensors stay as they are
MOST_VALUES = 1 << 16  # of a codebook
SAMPLE = 1 << 18  # entries that are looked at first, since most weights share nothing
WIDTHS = (2, 3, 4, 5, 6, 8, 9, 16)  # columns that a dictionary's entries may span
WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes an entry
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Packed:
    """How a tensor is stored, in plain data, and its streams of bytes by name."""

    told: dict[str, Any]
    streams: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all streams."""
        return sum(map(len, self.streams.values()))


def pack(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors to store in place of those of `state`, and by name how to get them back, as plain data."""
    stored: dict[str, Tensor] = {}
    told: dict[str, Any] = {}
    first: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
    for name, value in state.items():
        place = (value.data_ptr(), value.shape, value.stride())
        if value.numel() and first.setdefault(place, name) != name:
            told[name] = {"same": first[place]}
        elif found := _smallest(name, value, state):
            lengths = [[key, len(stream)] for key, stream in found.streams.items()]
            told[name] = {**found.told, "streams": lengths}
            stored[name] = torch.frombuffer(bytearray(b"".join(found.streams.values())), dtype=torch.uint8)
        else:
            stored[name] = value.detach().clone().contiguous()
    return stored, told


def unpack(stored: Mapping[str, Tensor], told: Mapping[str, Any]) -> dict[str, Tensor]:
    """What `pack` was given; raises ValueError or KeyError for what it has not written."""
    state = {name: value for name, value in stored.items() if name not in told}
    for name, how in sorted(told.items(), key=lambda item: item[1].get("values") == "grid"):  # after what grids are of
        if "same" not in how:
            state[name] = _restored(name, how, stored[name].numpy().tobytes(), state)
    return state | {name: state[how["same"]] for name, how in told.items() if "same" in how}


def words_of(how: Mapping[str, Any]) -> str:
    """How a tensor is stored, for a card: `nonzeros by gaps, codes of 4 bits`."""
    if "same" in how:
        return f"as {how['same']}"
    places = {"all": "", "bitmap": "nonzeros by a bitmap, ", "gaps": "nonzeros by gaps, "}[how["places"]]
    if how["values"] == "plain":
        return f"{places}values as they are"
    kind = {"book": "a codebook", "grid": "a grid", "dictionary": "dictionaries"}[how["values"]]
    return f"{places}codes of {how['bits']} bits of {kind}" if how["bits"] else f"{places}Huffman codes of {kind}"


def _smallest(name: str, value: Tensor, state: Mapping[str, Tensor]) -> Packed | None:
    """The smallest way that gives `value` back exactly, where one is smaller than the tensor itself."""
    whole = value.numel() * value.element_size()
    if value.numel() < FEW or value.layout != torch.strided or value.is_quantized or value.is_complex():
        return None
    if value.dtype == torch.bool:
        return None
    ways = [way for way in _ways(name, value, state) if way.size < 0.95 * whole]
    for way in sorted(ways, key=lambda one: one.size):
        told = {**way.told, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        data = b"".join(way.streams.values())
        lengths = [[key, len(stream)] for key, stream in way.streams.items()]
        back = _restored(name, {**told, "streams": lengths}, data, state)
        if np.array_equal(_patterns(back), _patterns(value)):
            return Packed(told, way.streams)
    return None


def _ways(name: str, value: Tensor, state: Mapping[str, Tensor]) -> Iterator[Packed]:
    flat = _patterns(value)
    for places, streams in _places(flat != 0):
        kept = flat if places == "all" else flat[flat != 0]
        yield Packed({"places": places, "values": "plain"}, {**streams, "values": kept.tobytes()})
        if book := _book(kept):
            yield Packed({"places": places, **book.told}, {**streams, **book.streams})
    codes = _grid_codes(name, value, state)
    if codes is not None:
        yield _coded({"places": "all", "values": "grid"}, codes)
    yield from _dictionaries(value)


def _patterns(value: Tensor) -> NDArray[Any]:
    """The bits of every entry as whole numbers, in row-major order; of a zero, whatever its sign, 0."""
    plain = value.detach().cpu().contiguous()
    plain = torch.where(plain == 0, torch.zeros_like(plain), plain)
    found: NDArray[Any] = plain.flatten().view(WHOLE[plain.element_size()]).numpy()
    return found


def _places(kept: NDArray[np.bool_]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Ways to say which entries are stored: all, a bit each, or how far apart they are, a byte each."""
    yield "all", {}
    if kept.all():
        return
    yield "bitmap", {"places": _deflated(np.packbits(kept).tobytes())}
    steps = np.diff(np.flatnonzero(kept), prepend=-1) - 1
    fillers = steps // 255
    gaps = np.full(len(steps) + int(fillers.sum()), 255, dtype=np.uint8)
    gaps[np.cumsum(fillers + 1) - 1] = steps - fillers * 255
    yield "gaps", {"places": _deflated(gaps.tobytes())}


def _book(patterns: NDArray[Any]) -> Packed | None:
    """Codes of a codebook, where values come at least twice."""
    most = min(MOST_VALUES, len(patterns) // 2)
    if not most or len(np.unique(patterns[:SAMPLE])) > most:
        return None
    values, codes = np.unique(patterns, return_inverse=True)
    if len(values) > most:
        return None
    found = _coded({"values": "book"}, codes.astype(np.int64))
    return Packed(found.told, {"book": values.tobytes(), **found.streams})


def _coded(told: dict[str, Any], codes: Codes) -> Packed:
    """Codes in as many bits as the largest needs, or deflated a byte each, whichever is smaller."""
    low = int(codes.min(initial=0))
    codes = codes - low
    bits = max(1, int(codes.max(initial=0)).bit_length())
    told = {**told, "low": low, "count": len(codes)}
    packed = bits_packed(codes, bits)
    if bits <= 8 and len(deflated := _deflated(codes.astype(np.uint8).tobytes())) < len(packed):
        return Packed({**told, "bits": 0}, {"codes": deflated})
    return Packed({**told, "bits": bits}, {"codes": packed})


def bits_packed(codes: Codes, bits: int) -> bytes:
    """Numbers below 2**bits, `bits` bits each, highest bit first: of four bits two a byte."""
    flags = (codes[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(flags.astype(np.uint8)).tobytes()


def _codes(told: Mapping[str, Any], data: bytes) -> Codes:
    count, bits = int(told["count"]), int(told["bits"])
    if not bits:
        return np.frombuffer(zlib.decompress(data), dtype=np.uint8).astype(np.int64) + int(told["low"])
    flags = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count * bits).astype(np.int64)
    return flags.reshape(count, bits) @ (1 << np.arange(bits - 1, -1, -1)) + int(told["low"])


def _grid(name: str, shape: torch.Size, state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor] | None:
    """Scales, zeros and sizes of inputs of every entry of the (out, n) matrix; None of a weight without a grid."""
    prefix = name.removesuffix("weight")
    scales, zeros, inputs = (state.get(f"{prefix}grid_{key}") for key in ("scales", "zeros", "inputs"))
    if scales is None or prefix == name or len(scales) != shape[0]:
        return None
    rows, columns = shape[0], shape[1:].numel()

    def spread(values: Tensor | None, usual: float) -> Tensor:
        if values is None:
            return torch.full((1, 1), usual)
        return values.detach().cpu().float().repeat_interleave(columns // values.shape[1], dim=1)

    sizes = spread(inputs, 1.0)
    return spread(scales, 1.0), spread(zeros, 0.0), sizes.repeat_interleave(max(1, rows // len(sizes)), dim=0)


def _grid_codes(name: str, value: Tensor, state: Mapping[str, Tensor]) -> Codes | None:
    """The codes (out · n,) that give the weight back exactly: next to the nearest where its numbers are coarse."""
    if not value.is_floating_point() or (grid := _grid(name, value.shape, state)) is None:
        return None
    scales, zeros, sizes = grid
    weight = value.detach().cpu().flatten(1)
    nearest = (weight.float() * sizes / scales + zeros).round()
    found = torch.full_like(nearest, float("nan"))
    for step in (-1, 1, 0):
        exact = _on_grid(nearest + step, grid).to(value.dtype) == weight
        found = torch.where(exact, nearest + step, found)
    whole = bool(found.isfinite().all()) and float(found.abs().max()) < MOST_VALUES
    return found.flatten().numpy().astype(np.int64) if whole else None


def _on_grid(codes: Tensor, grid: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    scales, zeros, sizes = grid
    found = scales * (codes - zeros)
    return found if sizes.numel() == 1 else found / sizes


def _dictionaries(value: Tensor) -> Iterator[Packed]:
    """Rows put together from a few pieces for each group of columns (Stock et al., 2020, store weights so)."""
    rows = _patterns(value).reshape(len(value), -1) if value.ndim > 1 else np.empty((0, 0))
    for width in WIDTHS:
        if rows.shape[1] < 2 * width or len(np.unique(rows[:, :width], axis=0)) > len(rows) // 2:
            continue
        cut = np.pad(rows, ((0, 0), (0, -rows.shape[1] % width))).reshape(len(rows), -1, width)
        found = [np.unique(cut[:, group], axis=0, return_inverse=True) for group in range(cut.shape[1])]
        codes = np.stack([inverse.reshape(-1) for _, inverse in found]).flatten().astype(np.int64)
        told = {"places": "all", "values": "dictionary", "width": width, "sizes": [len(part) for part, _ in found]}
        coded = _coded(told, codes)
        entries = np.concatenate([part for part, _ in found]).tobytes()
        yield Packed(coded.told, {"entries": entries, **coded.streams})


def _deflated(data: bytes) -> bytes:
    """Huffman codes of its bytes, and what repeats once."""
    return zlib.compress(data, 9)


def _restored(name: str, told: Mapping[str, Any], data: bytes, state: Mapping[str, Tensor]) -> Tensor:
    """The tensor that a way stands for; `state` has the plain tensors beside it."""
    dtype, shape = getattr(torch, told["dtype"]), torch.Size(told["shape"])
    streams, start = {}, 0
    for key, length in told["streams"]:
        streams[key], start = data[start : start + length], start + length
    if told["values"] == "grid":
        grid = _grid(name, shape, state)
        if grid is None:
            raise ValueError(f"{name} has no grid")
        codes = torch.from_numpy(_codes(told, streams["codes"])).reshape(shape[0], -1).float()
        return _on_grid(codes, grid).to(dtype).reshape(shape)
    whole = np.dtype(str(WHOLE[dtype.itemsize]).removeprefix("torch."))
    kept = _kept(told, streams, whole, shape)
    flat = kept if told["places"] == "all" else _placed(told["places"], streams["places"], kept, shape.numel())
    return torch.from_numpy(flat.copy()).view(dtype).reshape(shape)


def _kept(told: Mapping[str, Any], streams: Mapping[str, bytes], whole: Any, shape: torch.Size) -> NDArray[Any]:
    """The entries that are stored, in order."""
    if told["values"] == "plain":
        return np.frombuffer(streams["values"], dtype=whole)
    codes = _codes(told, streams["codes"])
    if told["values"] == "book":
        found: NDArray[Any] = np.frombuffer(streams["book"], dtype=whole)[codes]
        return found
    entries = np.frombuffer(streams["entries"], dtype=whole).reshape(-1, int(told["width"]))
    first = np.cumsum([0, *told["sizes"][:-1]])
    picked = entries[codes.reshape(len(first), shape[0]) + first[:, None]]  # (groups, out, width)
    rows: NDArray[Any] = picked.transpose(1, 0, 2).reshape(shape[0], -1)
    return rows[:, : shape[1:].numel()].flatten()


def _placed(places: str, data: bytes, kept: NDArray[Any], count: int) -> NDArray[Any]:
    """`kept` where a bitmap or gaps say, zeros elsewhere."""
    plain = np.frombuffer(zlib.decompress(data), dtype=np.uint8)
    flat = np.zeros(count, dtype=kept.dtype)
    if places == "bitmap":
        flat[np.unpackbits(plain, count=count).astype(bool)] = kept
        return flat
    ends = np.cumsum(plain.astype(np.int64) + (plain < 255))[plain < 255]
    flat[ends - 1] = kept
    return flat
