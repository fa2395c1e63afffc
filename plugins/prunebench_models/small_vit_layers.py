"""A plain vision transformer whose query, key and value are linear layers of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention over (B, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.o = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        result: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # (B, T, width) -> (B, heads, T, head_dim)
        return result

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._split(part(x)) for part in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        result: Tensor = self.o(mixed.transpose(-3, -2).flatten(-2))  # (B, heads, T, head_dim) -> (B, T, width)
        return result


class Block(nn.Module):
    """Attention and a two-layer network, each behind a layer norm and added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        result: Tensor = x + self.down(self.act(self.up(self.norm2(x))))
        return result


class VisionTransformer(nn.Module):
    """Patches (B, C, H, W) -> (B, T, width), a class token in front, blocks, and a linear layer on the class token."""

    def __init__(
        self, class_count: int, channels: int, patch: int, patches: int, width: int, depth: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, patches + 1, width))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, class_count)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)  # (B, T, width)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        result: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return result
