"""Whether a network still stores what it stored: by copies of small ones, by sums of large ones.

A copy of a network of billions of parameters does not fit beside it. So each piece of a large tensor is summed: its
64-bit words times odd numbers of their places, and their upper halves likewise, modulo 2^64. An odd number has an
inverse modulo 2^64, so a word that changes alone, by one bit or more, always changes the sum. The upper halves are
there for changes of uppermost bits alone, as of signs: an even number of them would leave the first sum as it was.
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
PIECE_WORDS = 1 << 18  # 2 MiB at a time: a piece and its product stay in a cache


@dataclass(frozen=True)
class Sums:
    """A tensor's type, its shape, and for each piece two sums: (2, pieces) int64."""

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
    pieces = raw.split(8 * PIECE_WORDS) if len(raw) else ()
    sums = torch.zeros(2, len(pieces), dtype=torch.int64, device=raw.device)
    product = torch.empty(min(PIECE_WORDS, -(-len(raw) // 8)), dtype=torch.int64, device=raw.device)
    for place, piece in enumerate(pieces):  # small results between large ones that come and go would break up the heap
        _sum_into(sums[:, place], piece, product)
    return Sums(value.dtype, value.shape, sums)


def _sum_into(sums: Tensor, raw: Tensor, product: Tensor) -> None:
    """(2,) of the bytes of one piece; what lacks to a whole word is zeros."""
    if len(raw) % 8:
        raw = torch.cat([raw, raw.new_zeros(-len(raw) % 8)])
    elif raw.data_ptr() % 8 or raw.storage_offset() % 8:
        raw = raw.clone()
    words = raw.view(torch.int64)
    odd, product = _odd_numbers(words.device)[: len(words)], product[: len(words)]
    sums[0] = torch.mul(words, odd, out=product).sum()
    sums[1] = torch.bitwise_right_shift(words, 32, out=product).mul_(odd).sum()


@lru_cache(maxsize=4)
def _odd_numbers(device: torch.device) -> Tensor:
    """(PIECE_WORDS,) int64, always the same ones."""
    drawn = torch.randint(-(2**62), 2**62, (PIECE_WORDS,), generator=torch.Generator().manual_seed(0))
    return (2 * drawn + 1).to(device)
