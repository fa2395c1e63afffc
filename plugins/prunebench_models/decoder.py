"""A causal decoder in plain torch: rotary attention with grouped keys, RMS norms, a gated MLP, a head.

Its parts carry the names that transformers gives them in Llama, so a state dict of one fits the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from prunebench import Anatomy, Attention, Block, Mlp, NotApplicable, Part
from torch import Tensor, nn
from torch.nn import functional

Past = list[tuple[Tensor, Tensor]]  # keys and values (B, key-value heads, tokens, head_dim) of each block


@dataclass(frozen=True)
class Sizes:
    """What decides the shapes of a decoder; `mlp` is the inner width of the gated MLP."""

    vocabulary: int
    depth: int
    width: int
    heads: int
    key_value_heads: int
    mlp: int
    tied: bool = True
    rotary_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Dimensions of one head."""
        return self.width // self.heads


class SelfAttention(nn.Module):
    """Rotary causal attention, in which `heads` / `key_value_heads` queries share one key and value."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.head_dim = sizes.head_dim
        self.rotary_base = sizes.rotary_base
        inner, groups = sizes.heads * sizes.head_dim, sizes.key_value_heads * sizes.head_dim
        self.q_proj = nn.Linear(sizes.width, inner, bias=False)
        self.k_proj = nn.Linear(sizes.width, groups, bias=False)
        self.v_proj = nn.Linear(sizes.width, groups, bias=False)
        self.o_proj = nn.Linear(inner, sizes.width, bias=False)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, T, width) to (B, T, width); with `past` keys and values of T' earlier tokens, which are (B, h, T', d)."""
        query, key, value = self.query_key_value(x, 0 if past is None else past[0].shape[2])
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        repeat = query.shape[1] // key.shape[1]
        if repeat > 1:
            key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
        causal = x.shape[1] > 1  # one token sees all that came before it
        if causal and past is not None:
            raise ValueError("tokens come one at a time where there is a past")
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        result: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return result

    def query_key_value(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, (B, heads, T, head_dim); the first token stands at `start`."""
        parts = (layer(x) for layer in (self.q_proj, self.k_proj, self.v_proj))
        query, key, value = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in parts)
        cos, sin = turns(start, x.shape[1], self.head_dim, self.rotary_base, x)
        return rotated(query, cos, sin), rotated(key, cos, sin), value


def turns(start: int, count: int, head_dim: int, base: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (count, head_dim) for positions from `start`; angles are taken in float32."""
    inverse = 1.0 / base ** (torch.arange(0, head_dim, 2, device=like.device).float() / head_dim)
    angles = torch.arange(start, start + count, device=like.device).float()[:, None] * inverse
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (i, i + head_dim/2) turned by their position's angle."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class GatedMlp(nn.Module):
    """down(silu(gate(x)) · up(x))."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(sizes.width, sizes.mlp, bias=False)
        self.up_proj = nn.Linear(sizes.width, sizes.mlp, bias=False)
        self.down_proj = nn.Linear(sizes.mlp, sizes.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) to (B, T, width)."""
        result: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return result


class DecoderBlock(nn.Module):
    """Attention, then the MLP, each behind a norm and added to what it read."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(sizes.width, eps=sizes.norm_epsilon)
        self.self_attn = SelfAttention(sizes)
        self.post_attention_layernorm = nn.RMSNorm(sizes.width, eps=sizes.norm_epsilon)
        self.mlp = GatedMlp(sizes)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, T, width) to (B, T, width)."""
        x = x + self.self_attn(self.input_layernorm(x), past)
        result: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return result


class Stack(nn.Module):
    """Embedding, blocks and the last norm."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.layers = nn.ModuleList(DecoderBlock(sizes) for _ in range(sizes.depth))
        self.norm = nn.RMSNorm(sizes.width, eps=sizes.norm_epsilon)


class Decoder(nn.Module):
    """Tokens (B, T) int64 to logits (B, T, vocabulary)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.model = Stack(sizes)
        self.lm_head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        if sizes.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, tokens: Tensor, past: Past | None = None) -> Tensor:
        """Logits of the token after each; `past` holds what each block keeps of the tokens before."""
        x = self.model.embed_tokens(tokens)
        for place, block in enumerate(self.model.layers):
            x = block(x, None if past is None else past[place])
        result: Tensor = self.lm_head(self.model.norm(x))
        return result


def cached(network: nn.Module, tokens: Tensor) -> tuple[Tensor, Past]:
    """What `network` is called with to read the last of `tokens` (B, T): it, (B, 1), and keys and values of the rest.

    Raises `NotApplicable` where a block or its attention is no longer of this module.
    """
    layers = list(network.model.layers) if isinstance(network, Decoder) else []
    blocks = [one for one in layers if type(one) is DecoderBlock and type(one.self_attn) is SelfAttention]
    if not isinstance(network, Decoder) or len(blocks) != len(layers):
        raise NotApplicable("its blocks were replaced: what they keep of earlier tokens is not known")
    x, past = network.model.embed_tokens(tokens[:, :-1]), Past()
    for block in blocks:
        past.append(block.self_attn.query_key_value(block.input_layernorm(x), 0)[1:])
        x = block(x)
    return tokens[:, -1:], past


def initialised(network: Decoder, depth: int) -> Decoder:
    """The network with normal weights of 1/√width, and less for what adds to the residual stream, by the blocks."""
    std = 1 / math.sqrt(network.model.embed_tokens.embedding_dim)
    for name, parameter in network.named_parameters():
        if parameter.dim() == 2:
            is_writer = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(parameter, std=std / math.sqrt(2 * depth) if is_writer else std)
    return network


def anatomy_of(network: nn.Module) -> Anatomy | None:
    """The parts of a `Decoder`, or of what is left of one; None for anything else."""
    if not isinstance(network, Decoder):
        return None
    blocks = tuple(_block(f"model.layers.{place}", block) for place, block in enumerate(network.model.layers))
    head = network.lm_head
    tied = getattr(head, "weight", None) is network.model.embed_tokens.weight
    return Anatomy(blocks, ("model.embed_tokens",), "model.norm", "lm_head", tied)


def _block(name: str, block: nn.Module) -> Block:
    assert isinstance(block, DecoderBlock)
    writers = (f"{name}.self_attn.o_proj", f"{name}.mlp.down_proj")
    norms = (f"{name}.input_layernorm", f"{name}.post_attention_layernorm")
    return Block(name, _attention(f"{name}.self_attn", block.self_attn), _mlp(f"{name}.mlp", block.mlp), norms, writers)


def _parts(name: str, module: nn.Module, layers: tuple[str, ...]) -> list[Part] | None:
    found = [getattr(module, layer) for layer in layers]
    if any(type(layer) is not nn.Linear for layer in found):
        return None
    pairs = zip(layers, found, strict=True)
    return [Part(f"{name}.{layer}", bias="" if module.bias is None else "bias") for layer, module in pairs]


def _attention(name: str, attn: nn.Module) -> Attention | None:
    if not isinstance(attn, SelfAttention):
        return None
    parts = _parts(name, attn, ("q_proj", "k_proj", "v_proj", "o_proj"))
    if parts is None:
        return None
    size = attn.head_dim
    q, k, v, o = parts
    heads, key_value_heads = attn.q_proj.out_features // size, attn.k_proj.out_features // size
    return Attention(name, q, k, v, o, heads, key_value_heads, size, rotary=size)


def _mlp(name: str, mlp: GatedMlp) -> Mlp | None:
    parts = _parts(name, mlp, ("up_proj", "down_proj", "gate_proj"))
    return None if parts is None else Mlp(parts[0], parts[1], mlp.down_proj.in_features, parts[2])
