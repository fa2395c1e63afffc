"""Whether a network still stores what it stored: by copies of small ones, by sums of large ones.

A copy of a network of billions of parameters does not fit beside it. So a large tensor is read as rows of 32-bit
words, and each row is summed: its words, as whole numbers, times whole numbers that all differ. In float64 such a sum
is exact, in whatever order it is taken. Hence one word that changes, two that change places, and two that turn their
signs always change the sum of their row; what changes in one row cannot make up for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from prunebench.measure.latency.faults import ChangedWeights
from prunebench.measure.weights import byte_count, require_unchanged, stored

COPIED_BYTES = 64 << 20  # what a network stores up to this size is copied
ROW_WORDS = 1024  # a row's sum is below 2^10 · 2^31 · 2^11 = 2^52: exact
FACTORS = 2047
PIECE_ROWS = 64  # 256 KiB at a time: a piece and its numbers stay in a cache
PIECE_ROWS_ELSEWHERE = 4096  # on another device than the CPU, where a small piece is mostly its launch


@dataclass(frozen=True)
class Sums:
    """A tensor's type, its shape, and one sum for each row of words: (rows,) float64, all of them whole numbers."""

    dtype: torch.dtype
    shape: torch.Size
    sums: Tensor


@dataclass(frozen=True)
class Kept:
    """What a network stored, by name: tensors that were copied, and sums of those that were not."""

    copies: Mapping[str, Tensor]
    sums: Mapping[str, Sums]

    @classmethod
    def of(cls, network: nn.Module, copied_bytes: int = COPIED_BYTES) -> Kept:
        """Of all that `network` stores now; it is copied where it takes at most `copied_bytes` together."""
        now = stored(network)
        is_small = sum(byte_count(value) for value in now.values()) <= copied_bytes
        summed = {name for name, value in now.items() if not is_small and is_plain(value)}
        copies = {name: value.detach().clone() for name, value in now.items() if name not in summed}
        return cls(copies, {name: sums_of(now[name]) for name in summed})

    def require_unchanged(self, network: nn.Module) -> None:
        """Raise `ChangedWeights`, naming a tensor, where `network` no longer stores what it did."""
        require_unchanged(network, self.copies)
        now = stored(network)
        for name, then in self.sums.items():
            if name not in now or not _is_still(now[name], then):
                raise ChangedWeights(
                    f"the forward pass changed {name}: make it leave parameters and buffers as they are"
                )


def _is_still(now: Tensor, then: Sums) -> bool:
    if (now.dtype, now.shape) != (then.dtype, then.shape) or not is_plain(now):
        return False
    return torch.equal(sums_of(now).sums.cpu(), then.sums.cpu())


def is_plain(value: Tensor) -> bool:
    """Whether the bytes of `value` are all that it is: no tensor of a library's own class, sparse or quantized."""
    return type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided and not value.is_quantized


@torch.no_grad()
def sums_of(value: Tensor) -> Sums:
    """The sums of a plain tensor, taken where it lies; it is copied only where it is not contiguous."""
    flat = value.detach().contiguous().reshape(-1)
    raw = flat.as_strided(flat.shape, (1,)).view(torch.uint8)  # of one element the stride may be anything
    row_bytes = 4 * ROW_WORDS
    sums = torch.zeros(-(-len(raw) // row_bytes), dtype=torch.float64, device=raw.device)
    whole = len(raw) // row_bytes
    step = min(whole, PIECE_ROWS if raw.device.type == "cpu" else PIECE_ROWS_ELSEWHERE)
    numbers = torch.empty(step, ROW_WORDS, dtype=torch.float64, device=raw.device)
    for first in range(0, whole, max(1, step)):  # small results between large ones would break up the heap
        last = min(first + step, whole)
        _sum_into(sums[first:last], raw[first * row_bytes : last * row_bytes], numbers[: last - first])
    if whole < len(sums):
        rest = raw[whole * row_bytes :]
        _sum_into(
            sums[whole:], torch.cat([rest, rest.new_zeros(row_bytes - len(rest))]), numbers.new_empty(1, ROW_WORDS)
        )
    return Sums(value.dtype, value.shape, sums)


def _sum_into(sums: Tensor, raw: Tensor, numbers: Tensor) -> None:
    """(rows,) of the bytes of so many rows; `numbers` (rows, ROW_WORDS) is overwritten."""
    if raw.data_ptr() % 4 or raw.storage_offset() % 4:
        raw = raw.clone()
    numbers.copy_(raw.view(torch.int32).view(numbers.shape))
    if numbers.device.type == "cpu":
        torch.mv(numbers, _factors(numbers.device), out=sums)
    else:  # cuBLAS warns where it is asked to be deterministic
        torch.sum(numbers.mul_(_factors(numbers.device)), 1, out=sums)


@lru_cache(maxsize=4)
def _factors(device: torch.device) -> Tensor:
    """(ROW_WORDS,) whole numbers in float64, no two of them equal, always the same ones."""
    drawn = torch.randperm(FACTORS, generator=torch.Generator().manual_seed(0))[:ROW_WORDS] + 1
    return drawn.double().to(device)
