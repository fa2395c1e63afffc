"""A plain vision transformer whose query, key and value are linear layers of their own."""

from __future__ import annotations

import torch
from prunebench import Anatomy, Block, Mlp, Part
from prunebench import Attention as AttentionParts
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention over (B, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.head_dim = width // heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.o = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        result: Tensor = x.unflatten(-1, (self.num_heads, -1)).transpose(
            -3, -2
        )  # (B, T, width) -> (B, heads, T, head_dim)
        return result

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._split(part(x)) for part in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        result: Tensor = self.o(mixed.transpose(-3, -2).flatten(-2))  # (B, heads, T, head_dim) -> (B, T, width)
        return result


class EncoderBlock(nn.Module):
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
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, class_count)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)  # (B, T, width)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        result: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return result


def anatomy_of(network: nn.Module) -> Anatomy | None:
    """The parts of a `VisionTransformer`, or of what is left of one; None for anything else."""
    if not isinstance(network, VisionTransformer) or not isinstance(network.blocks, nn.Sequential):
        return None
    if not all(isinstance(block, EncoderBlock) for block in network.blocks):
        return None
    blocks = tuple(_block(f"blocks.{place}", block) for place, block in network.blocks.named_children())
    return Anatomy(blocks, final_norm="norm", head="head")


def _block(name: str, block: nn.Module) -> Block:
    assert isinstance(block, EncoderBlock)
    up, down = _part(f"{name}.up", block.up), _part(f"{name}.down", block.down)
    mlp = None if up is None or down is None else Mlp(up, down, block.down.in_features)
    norms, writers = (f"{name}.norm1", f"{name}.norm2"), (f"{name}.attention.o", f"{name}.down")
    return Block(name, _attention(f"{name}.attention", block.attention), mlp, norms, writers)


def _attention(name: str, attention: nn.Module) -> AttentionParts | None:
    if not isinstance(attention, Attention):
        return None
    layers = ("q", "k", "v", "o")
    query, key, value, output = (_part(f"{name}.{layer}", getattr(attention, layer)) for layer in layers)
    if query is None or key is None or value is None or output is None:
        return None
    heads, size = attention.num_heads, attention.head_dim
    return AttentionParts(name, query, key, value, output, heads, heads, size, causal=False)


def _part(name: str, layer: nn.Module) -> Part | None:
    """A linear layer; None for what a method has put in its place."""
    return Part(name, bias="" if layer.bias is None else "bias") if type(layer) is nn.Linear else None
