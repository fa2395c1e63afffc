"""The anatomy of networks whose blocks are known by their class: torch's, torchvision's, timm's, transformers'.

A class is known by its name and the parts that it must have; nothing but torch is imported. What is not known exactly
is left out: a method that finds no anatomy declines, which is better than a wrong cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from prunebench.anatomy.parts import Anatomy, Attention, Block, Mlp, Part

Reader = Callable[[str, Any], Block]  # a block is of a class that is not imported here


def recognised(network: nn.Module) -> Anatomy | None:
    """The anatomy by the classes of the network's blocks; None where no block is of a known class."""
    found = []
    for name, module in network.named_modules():
        reader = READERS.get(type(module).__name__)
        if reader is not None and all(_has(module, path) for path in reader[1]):
            found.append(reader[0](name, module))
    return assembled(network, found) if found else None


def assembled(network: nn.Module, blocks: Sequence[Block]) -> Anatomy:
    """`blocks` with what stands around them: embeddings, the last norm, the head by its role."""
    inside = tuple(f"{block.name}." for block in blocks)
    outside = {name: module for name, module in network.named_modules() if not name.startswith(inside)}
    embeddings = tuple(name for name, module in outside.items() if isinstance(module, nn.Embedding))
    norms = [name for name, module in outside.items() if _is_norm(module)]
    head = _head(network, outside)
    matrices = {id(outside[name].weight) for name in embeddings}
    tied = bool(head) and id(outside[head].weight) in matrices
    return Anatomy(tuple(blocks), embeddings, norms[-1] if norms else "", head, tied)


def _head(network: nn.Module, outside: dict[str, nn.Module]) -> str:
    """The module that gives the logits: as the network says itself, else its only linear layer outside of blocks."""
    own = getattr(network, "get_output_embeddings", lambda: None)()
    if own is not None:
        return next((name for name, module in outside.items() if module is own), "")
    linear = [name for name, module in outside.items() if isinstance(module, nn.Linear)]
    return linear[0] if len(linear) == 1 else ""


def linear_part(name: str, module: nn.Module, rows: tuple[tuple[int, int], ...] = ()) -> Part | None:
    """The part of a layer that computes as nn.Linear does; None for a subclass with a forward of its own.

    None as well for a weight that is computed (parametrized) and for a layer with hooks, which may change what it does.
    """
    if not isinstance(module, nn.Linear) or type(module).forward is not nn.Linear.forward:
        return None
    if parametrize.is_parametrized(module) or module._forward_hooks or module._forward_pre_hooks:
        return None
    return Part(name, bias="bias" if module.bias is not None else "", rows=rows)


def _known(parts: Sequence[Part | None]) -> list[Part] | None:
    known = [part for part in parts if part is not None]
    return known if len(known) == len(parts) else None


def _mlp(name: str, block: Any, up: str, down: str, gate: str = "") -> Mlp | None:
    paths = [up, down, *([gate] if gate else [])]
    parts = _known([linear_part(f"{name}.{path}", block.get_submodule(path)) for path in paths])
    if parts is None:
        return None
    return Mlp(parts[0], parts[1], int(block.get_submodule(down).in_features), parts[2] if gate else None)


def _separate(path: str, attn: Any, layers: Sequence[str], rotary: int = 0) -> Attention | None:
    """Attention with a layer each for queries, keys, values and output."""
    size = int(attn.head_dim)
    parts = [linear_part(f"{path}.{layer}", attn.get_submodule(layer)) for layer in layers]
    heads, groups = (int(attn.get_submodule(layer).out_features) // size for layer in layers[:2])
    return _attention(path, parts, (heads, groups, size), rotary=rotary, normed=hasattr(attn, "q_norm"))


def _attention(path: str, parts: Sequence[Part | None], sizes: tuple[int, int, int], **facts: Any) -> Attention | None:
    """Attention of queries, keys, values, output; None where one of them is not known to be a plain linear map."""
    known = _known(parts)
    if known is None:
        return None
    query, key, value, output = known
    return Attention(path, query, key, value, output, *sizes, **facts)


def _llama(name: str, block: Any) -> Block:
    layers = ("q_proj", "k_proj", "v_proj", "o_proj")
    attention = _separate(f"{name}.self_attn", block.self_attn, layers, int(block.self_attn.head_dim))
    mlp = _mlp(name, block, "mlp.up_proj", "mlp.down_proj", "mlp.gate_proj")
    norms = (f"{name}.input_layernorm", f"{name}.post_attention_layernorm")
    return Block(name, attention, mlp, norms, (f"{name}.self_attn.o_proj", f"{name}.mlp.down_proj"))


def _opt(name: str, block: Any) -> Block:
    layers = ("q_proj", "k_proj", "v_proj", "out_proj")
    attention = _separate(f"{name}.self_attn", block.self_attn, layers)
    norms = (f"{name}.self_attn_layer_norm", f"{name}.final_layer_norm")
    writers = (f"{name}.self_attn.out_proj", f"{name}.fc2")
    return Block(name, attention, _mlp(name, block, "fc1", "fc2"), norms, writers, bool(block.do_layer_norm_before))


def _gpt2(name: str, block: Any) -> Block:
    attn = block.attn
    heads, head_dim = int(attn.num_heads), int(attn.head_dim)
    size = heads * head_dim
    query, key, value = (_conv1d(f"{name}.attn.c_attn", ((k * size, (k + 1) * size),)) for k in range(3))
    output = _conv1d(f"{name}.attn.c_proj")
    attention = Attention(f"{name}.attn", query, key, value, output, heads, heads, head_dim)
    mlp = Mlp(_conv1d(f"{name}.mlp.c_fc"), _conv1d(f"{name}.mlp.c_proj"), int(block.mlp.c_proj.weight.shape[0]))
    writers = (f"{name}.attn.c_proj", f"{name}.mlp.c_proj")
    return Block(name, attention, mlp, (f"{name}.ln_1", f"{name}.ln_2"), writers)


def _conv1d(name: str, rows: tuple[tuple[int, int], ...] = ()) -> Part:
    """A layer of transformers that is called Conv1D and is a linear map whose matrix is stored (in, out)."""
    return Part(name, bias="bias", rows=rows, transposed=True)


def _neox(name: str, block: Any) -> Block:
    """Queries, keys and values of one head lie together in one matrix: rows of a head are q, k, v."""
    attn = block.attention
    size = int(attn.head_size)
    heads = attn.query_key_value.out_features // (3 * size)
    rows = [tuple(((3 * h + k) * size, (3 * h + k + 1) * size) for h in range(heads)) for k in range(3)]
    path = f"{name}.attention"
    stacked = [linear_part(f"{path}.query_key_value", attn.query_key_value, chosen) for chosen in rows]
    parts = [*stacked, linear_part(f"{path}.dense", attn.dense)]
    attention = _attention(path, parts, (heads, heads, size), rotary=int(attn.rotary_ndims))
    mlp = _mlp(name, block, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
    norms = (f"{name}.input_layernorm", f"{name}.post_attention_layernorm")
    writers = (f"{path}.dense", f"{name}.mlp.dense_4h_to_h")
    return Block(name, attention, mlp, norms, writers, parallel=bool(block.use_parallel_residual))


def _timm(name: str, block: Any) -> Block:
    attn = block.attn
    heads, head_dim = int(attn.num_heads), int(attn.head_dim)
    size = heads * head_dim
    rows = [((k * size, (k + 1) * size),) for k in range(3)]
    stacked = [linear_part(f"{name}.attn.qkv", attn.qkv, chosen) for chosen in rows]
    normed = not isinstance(attn.q_norm, nn.Identity)
    attention = None
    if isinstance(getattr(attn, "norm", nn.Identity()), nn.Identity) and getattr(attn, "gate", None) is None:
        parts = [*stacked, linear_part(f"{name}.attn.proj", attn.proj)]
        attention = _attention(f"{name}.attn", parts, (heads, heads, head_dim), causal=False, normed=normed)
    is_plain = isinstance(getattr(block.mlp, "norm", nn.Identity()), nn.Identity)
    mlp = _mlp(name, block, "mlp.fc1", "mlp.fc2") if is_plain else None
    last = ((block.ls1, "ls1", "attn.proj"), (block.ls2, "ls2", "mlp.fc2"))  # a learned scale stands before the sum
    writers = tuple(f"{name}.{part if isinstance(scale, nn.Identity) else own}" for scale, own, part in last)
    return Block(name, attention, mlp, (f"{name}.norm1", f"{name}.norm2"), writers)


def _torchvision(name: str, block: Any) -> Block:
    attention = multihead(f"{name}.self_attention", block.self_attention)
    layers = [position for position, module in block.mlp.named_children() if isinstance(module, nn.Linear)]
    mlp = _mlp(name, block, *(f"mlp.{position}" for position in layers)) if len(layers) == 2 else None
    writers = (f"{name}.self_attention", f"{name}.mlp")
    return Block(name, attention, mlp, (f"{name}.ln_1", f"{name}.ln_2"), writers)


def _torch(name: str, block: Any) -> Block:
    attention = multihead(f"{name}.self_attn", block.self_attn)
    norms, writers = (f"{name}.norm1", f"{name}.norm2"), (f"{name}.self_attn", f"{name}.linear2")
    return Block(name, attention, _mlp(name, block, "linear1", "linear2"), norms, writers, bool(block.norm_first))


def multihead(name: str, attn: Any) -> Attention | None:
    """The parts of torch's own attention, which reads its matrices without calling a layer; None for rare forms."""
    if type(attn) is not nn.MultiheadAttention or not attn._qkv_same_embed_dim:
        return None
    if attn.bias_k is not None or attn.add_zero_attn or parametrize.is_parametrized(attn):
        return None
    size, bias = attn.embed_dim, "in_proj_bias" if attn.in_proj_bias is not None else ""
    query, key, value = (
        Part(name, "in_proj_weight", bias, ((k * size, (k + 1) * size),), called=False) for k in range(3)
    )
    output = Part(f"{name}.out_proj", bias="bias" if attn.out_proj.bias is not None else "", called=False)
    heads = attn.num_heads
    return Attention(name, query, key, value, output, heads, heads, size // heads, causal=False)


def _has(module: nn.Module, path: str) -> bool:
    found: object = module
    for step in path.split("."):
        found = getattr(found, step, None)
    return found is not None


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm) or type(module).__name__.endswith("RMSNorm")


LLAMA = (_llama, ("self_attn.q_proj", "self_attn.head_dim", "mlp.gate_proj", "mlp.down_proj"))
READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "LlamaDecoderLayer": LLAMA,
    "MistralDecoderLayer": LLAMA,
    "Qwen2DecoderLayer": LLAMA,
    "Qwen3DecoderLayer": LLAMA,
    "OPTDecoderLayer": (_opt, ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2")),
    "GPT2Block": (_gpt2, ("attn.c_attn", "attn.num_heads", "mlp.c_fc", "mlp.c_proj")),
    "GPTNeoXLayer": (_neox, ("attention.query_key_value", "attention.head_size", "mlp.dense_h_to_4h")),
    "EncoderBlock": (_torchvision, ("self_attention.in_proj_weight", "mlp", "ln_1")),
    "TransformerEncoderLayer": (_torch, ("self_attn", "linear1", "linear2")),
    "Block": (_timm, ("attn.qkv", "attn.num_heads", "attn.q_norm", "mlp.fc1", "mlp.fc2", "norm1", "ls1", "ls2")),
}
