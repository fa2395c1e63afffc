"""Grids of few bits: weights as codes, scales of 16 bits and zero points, packed for real and read back.

Letters: a weight (m, n) in groups of k inputs has G = n / k scales s and zero points z a row. A code q of b bits stands
for s (q - z), divided by its input's size t where inputs are scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prunebench_methods.shared.exact import packed_byte_count
from prunebench_methods.shared.numerics import working
from prunebench_methods.shared.replace import Layer, linear_and_conv_layers
from prunebench_methods.shared.sparse import packed, unpacked
from prunebench_methods.shared.storage import HEADER_BYTES, dense_byte_count

BUFFERS = ("grid_scales", "grid_zeros", "grid_inputs")
SCALE_BITS = 16
SMALLEST, LARGEST = 2.0**-14, 65504.0  # normal float16 numbers; scales outside of them are bfloat16


@dataclass(frozen=True)
class Grid:
    """Scales (m, G), zero points (m, G) or one number for all, sizes of inputs (n,) if any; numbers of `bits` bits."""

    scales: Tensor
    zeros: Tensor | float
    bits: int
    inputs: Tensor | None = None

    @property
    def top(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1

    def _spread(self, values: Tensor | float, width: int) -> Tensor | float:
        if not isinstance(values, Tensor) or values.shape[1] == width:
            return values
        return values.repeat_interleave(width // values.shape[1], dim=1)

    def codes(self, weight: Tensor) -> Tensor:
        """(m, n) whole numbers: the codes nearest to the weight, in its dtype."""
        width = weight.shape[1]
        scaled = weight if self.inputs is None else weight * self.inputs
        return (scaled / self._spread(self.scales, width) + self._spread(self.zeros, width)).round().clamp(0, self.top)

    def values(self, codes: Tensor) -> Tensor:
        """(m, n): what codes stand for."""
        width = codes.shape[1]
        found = self._spread(self.scales, width) * (codes - self._spread(self.zeros, width))
        return found if self.inputs is None else found / self.inputs


def sixteen_bits(values: Tensor, least: float = SMALLEST) -> Tensor:
    """Rounded to what 16 bits hold: float16 where none but zero is below `least` or too large, else bfloat16."""
    sizes = values.abs()
    fits = bool(((sizes >= least) & (sizes <= LARGEST) | (sizes == 0)).all())
    return values.to(torch.float16 if fits else torch.bfloat16)


def extremes_grid(low: Tensor, high: Tensor, bits: int, *, symmetric: bool) -> Grid:
    """The grid whose ends are the least and the largest weight (m, G) of each group, and zero in between.

    Symmetric: as far to both sides as the larger of the two, with zero on code 2**(bits - 1) everywhere.
    """
    low, high, top = low.clamp_max(0), high.clamp_min(0), (1 << bits) - 1
    middle = 1 << (bits - 1)
    spans = torch.maximum(-low, high) / (middle - 1) if symmetric else (high - low) / top
    scales = sixteen_bits(torch.where(spans > 0, spans, 1.0)).to(low.dtype)
    scales = torch.where(scales > 0, scales, torch.finfo(torch.bfloat16).tiny)
    if symmetric:
        return Grid(scales, float(middle), bits)
    return Grid(scales, (-low / scales).round().clamp(0, top), bits)


def fitted_grid(weight: Tensor, group: int, bits: int, *, symmetric: bool) -> Grid:
    """`extremes_grid` of a weight (m, n) in groups of `group` inputs, 0 for whole rows."""
    cut = weight.unflatten(1, (-1, group or weight.shape[1]))
    return extremes_grid(cut.amin(2), cut.amax(2), bits, symmetric=symmetric)


def attach(layer: Layer, grids: list[Grid], codes: list[Tensor]) -> None:
    """Put a grid per group of channels into the layer's buffers, and what codes (m, n) stand for into its weight."""
    layer.register_buffer("grid_scales", sixteen_bits(torch.cat([grid.scales for grid in grids])))
    zeros = [grid.zeros for grid in grids if isinstance(grid.zeros, Tensor)]
    if zeros:
        layer.register_buffer("grid_zeros", _stored_zeros(torch.cat(zeros)))
    inputs = [grid.inputs for grid in grids if grid.inputs is not None]
    if inputs:
        layer.register_buffer("grid_inputs", sixteen_bits(torch.stack(inputs)))
    stored = grids_of(layer, grids[0].bits)
    assert stored is not None
    values = torch.cat([grid.values(code) for grid, code in zip(stored, codes, strict=True)])
    layer.weight.detach().copy_(values.reshape(layer.weight.shape))
    layer.weight.requires_grad_(False)


def _stored_zeros(zeros: Tensor) -> Tensor:
    """Whole zero points as 8-bit codes, others in 16 bits."""
    is_whole = bool((zeros == zeros.round()).all()) and float(zeros.min()) >= 0 and float(zeros.max()) <= 255
    return zeros.to(torch.uint8) if is_whole else sixteen_bits(zeros, least=0.0)


def grids_of(layer: Layer, bits: int) -> list[Grid] | None:
    """The grids, one per group of channels, that `attach` left in the layer's buffers; None where there are none."""
    scales = getattr(layer, "grid_scales", None)
    if not isinstance(scales, Tensor):
        return None
    groups = getattr(layer, "groups", 1)
    zeros, inputs = getattr(layer, "grid_zeros", None), getattr(layer, "grid_inputs", None)
    kind = working(layer.weight).dtype
    parts = scales.to(kind).chunk(groups)
    zero_parts = [float(1 << (bits - 1))] * groups if zeros is None else zeros.to(kind).chunk(groups)
    input_parts = [None] * groups if inputs is None else list(inputs.to(kind))
    return [Grid(s, z, bits, t) for s, z, t in zip(parts, zero_parts, input_parts, strict=True)]


def codes_of(layer: Layer, bits: int) -> Tensor | None:
    """(out, n): the codes that stand for the layer's weight exactly; None where it is not on its grid (any more)."""
    grids = grids_of(layer, bits)
    if grids is None:
        return None
    weight = layer.weight.detach()
    parts = working(weight).flatten(1).chunk(len(grids))
    found = [_recovered(grid, part, weight.dtype) for grid, part in zip(grids, parts, strict=True)]
    return None if any(part is None for part in found) else torch.cat([part for part in found if part is not None])


def _recovered(grid: Grid, weight: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The codes whose values in the weight's own precision are the weight: next to the nearest where that is coarse."""
    nearest, found = grid.codes(weight), torch.full_like(weight, -1)
    for step in (-1, 1, 0):
        tried = (nearest + step).clamp(0, grid.top)
        found = torch.where(grid.values(tried).to(dtype).to(weight.dtype) == weight, tried, found)
    return found if bool((found >= 0).all()) else None


def packed_codes(layer: Layer, bits: int) -> bytes | None:
    """The codes as a file holds them, `bits` bits each, row after row; None where the weight is not on its grid."""
    codes = codes_of(layer, bits)
    return None if codes is None else packed(codes.flatten().cpu().numpy().astype(np.int64), bits)


def unpacked_weight(data: bytes, layer: Layer, bits: int) -> Tensor:
    """The layer's weight from its packed codes and its buffers, in its dtype."""
    grids, weight = grids_of(layer, bits), layer.weight
    assert grids is not None
    numbers = torch.from_numpy(unpacked(data, bits, weight.numel())).to(working(weight)).view(len(weight), -1)
    values = [grid.values(part) for grid, part in zip(grids, numbers.chunk(len(grids)), strict=True)]
    return torch.cat(values).reshape(weight.shape).to(weight.dtype)


def packed_byte_counts(network: nn.Module, bits: int) -> dict[str, int]:
    """Bytes by format: `dense`, `packed`, and `packed_bitmap` where leaving zeros out is smaller."""
    dense = dense_byte_count(network)
    saved = list(_saved(network, bits))
    if not saved:
        return {"dense": dense}
    found = {"dense": dense, "packed": dense - sum(plain for plain, _ in saved)}
    sparse = dense - sum(max(both) for both in saved)
    return {**found, "packed_bitmap": sparse} if sparse < found["packed"] else found


def _saved(network: nn.Module, bits: int) -> Iterator[tuple[int, int]]:
    """What packing saves of each layer on its grid: all codes, or a bit per weight and the codes that are not zero."""
    for layer in linear_and_conv_layers(network).values():
        if codes_of(layer, bits) is None:
            continue
        weight, zeros = layer.weight, getattr(layer, "grid_zeros", None)
        dense = weight.numel() * weight.element_size()
        spare = 0
        if zeros is not None and zeros.dtype == torch.uint8:
            spare = zeros.numel() - packed_byte_count(zeros.numel(), bits)
        bitmap = (
            packed_byte_count(weight.numel(), 1) + packed_byte_count(int(weight.count_nonzero()), bits) + HEADER_BYTES
        )
        yield dense - packed_byte_count(weight.numel(), bits) + spare, dense - bitmap + spare
