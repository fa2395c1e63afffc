"""Self-attention whose heads have fewer dimensions, each with the rotary angles of those that stayed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Heads:
    """How many there are and how they are used; `scale` multiplies the products of queries and keys."""

    heads: int
    key_value_heads: int
    scale: float
    causal: bool
    is_batch_first: bool = True
    answers_pair: bool = False  # as torch's own attention does: the output, and no weights


class NarrowAttention(nn.Module):
    """Takes the place of a self-attention; key-value heads may have other widths than before, and other angles each.

    `angles` (key_value_heads, pairs) are what a position turns its pairs (i, i + pairs) by; None without rotation.
    """

    in_proj_bias = None  # torch's encoder layer then leaves its fused kernel
    angles: Tensor | None

    def __init__(self, maps: tuple[nn.Linear, nn.Linear, nn.Linear, nn.Linear], heads: Heads, angles: Tensor | None):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = maps
        self.heads = heads
        self.batch_first = heads.is_batch_first
        self.register_buffer("angles", angles)

    def forward(
        self, query: Tensor, *others: object, past: tuple[Tensor, Tensor] | None = None, **options: object
    ) -> Tensor | tuple[Tensor, None]:
        """(B, T, width) to the same; of others, keys and values that are the queries' own, or what came before."""
        masks = [options.get("attn_mask"), options.get("key_padding_mask")]
        if any(mask is not None for mask in masks):
            raise ValueError("attention with narrower heads accepts no mask")
        if others and isinstance(others[0], tuple):
            past = others[0]
        x = query if self.batch_first else query.transpose(0, 1)
        start = 0 if past is None else past[0].shape[2]
        queries, keys, values = self.query_key_value(x, start)
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        mixed = self.o_proj(self._mixed(queries, keys, values))
        mixed = mixed if self.batch_first else mixed.transpose(0, 1)
        return (mixed, None) if self.heads.answers_pair else mixed

    def _mixed(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        repeat = self.heads.heads // self.heads.key_value_heads
        if repeat > 1:
            keys, values = keys.repeat_interleave(repeat, 1), values.repeat_interleave(repeat, 1)
        causal = self.heads.causal and queries.shape[2] > 1  # one token sees all that came before it
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=causal, scale=self.heads.scale)
        return mixed.transpose(1, 2).flatten(2)

    def query_key_value(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries (B, heads, T, k) and keys, and values; the first token stands at `start`."""
        counts = (self.heads.heads, self.heads.key_value_heads, self.heads.key_value_heads)
        layers = (self.q_proj, self.k_proj, self.v_proj)
        found = [layer(x).unflatten(-1, (n, -1)).transpose(1, 2) for layer, n in zip(layers, counts, strict=True)]
        if self.angles is not None:
            turn = (
                torch.arange(start, start + x.shape[1], device=x.device).float()[:, None] * self.angles[:, None].float()
            )
            found[1] = _turned(found[1], turn)
            found[0] = _turned(found[0], turn.repeat_interleave(counts[0] // counts[1], 0))
        return found[0], found[1], found[2]


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """(B, h, T, 2p) with its pairs (i, i + p) turned by angles (h, T, p)."""
    cos, sin = torch.cat([turn.cos()] * 2, -1).to(x.dtype), torch.cat([turn.sin()] * 2, -1).to(x.dtype)
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
