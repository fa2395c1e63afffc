"""A Llama in a GGUF file as a plain decoder: weights dequantized, the interleaving of rotary pairs undone."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from prunebench import DataError
from torch import Tensor, nn

from prunebench_models.decoder import Decoder, Sizes
from prunebench_models.gguf_file import Gguf, Stored, read
from prunebench_models.vocabulary import Vocabulary

NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTSIDE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def needed(package: str) -> Any:
    """The module; raises `DataError` with the command that installs it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise DataError(f"language models need {package}: pip install 'prunebench[llm]'") from None


def _read(file: Path) -> Gguf:
    try:
        return read(file)
    except (ValueError, OSError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} cannot be read as GGUF ({error})")


def network(file: Path, outputs: int) -> nn.Module:
    """The decoder with its weights in float32; raises `DataError` where the vocabulary is another than the data's."""
    found = _read(file)
    sizes = _sizes(found)
    if outputs != sizes.vocabulary:
        raise DataError(f"the model knows {sizes.vocabulary:,} tokens, the data has {outputs:,}: use the data set text")
    with torch.device("meta"):
        empty = Decoder(sizes)
    try:
        weights = {_name(tensor.name): _weight(tensor, sizes) for tensor in found.tensors}
    except (ValueError, OSError) as error:
        raise _unreadable(file, error) from None
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    empty.load_state_dict(weights, assign=True)
    empty.lm_head.weight = empty.model.embed_tokens.weight
    return empty.requires_grad_(True)


def _sizes(found: Gguf) -> Sizes:
    fields = found.fields
    kind = fields["general.architecture"]
    if kind != "llama" or any(tensor.name == "output.weight" for tensor in found.tensors):
        raise DataError(f"a GGUF file of a Llama with a tied head is needed, this one is of {kind}")
    return Sizes(
        vocabulary=len(fields["tokenizer.ggml.tokens"]),
        depth=int(fields["llama.block_count"]),
        width=int(fields["llama.embedding_length"]),
        heads=int(fields["llama.attention.head_count"]),
        key_value_heads=int(fields["llama.attention.head_count_kv"]),
        mlp=int(fields["llama.feed_forward_length"]),
        rotary_base=float(fields["llama.rope.freq_base"]),
        norm_epsilon=float(fields["llama.attention.layer_norm_rms_epsilon"]),
    )


def _name(name: str) -> str:
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, block, part, kind = name.split(".")
    return f"model.layers.{block}.{NAMES[part]}.{kind}"


def _weight(tensor: Stored, sizes: Sizes) -> Tensor:
    """(out, in) in float32. llama.cpp stores the two halves of a head's rotary pairs in turn."""
    gguf = needed("gguf")
    kinds = gguf.GGMLQuantizationType
    raw = tensor.raw(lambda kind: gguf.GGML_QUANT_SIZES[kinds(kind)])
    value = torch.from_numpy(gguf.dequantize(raw, kinds(tensor.kind))).float()
    heads = {"attn_q": sizes.heads, "attn_k": sizes.key_value_heads}.get(tensor.name.split(".")[-2])
    if heads is None:
        return value
    result: Tensor = (
        value.unflatten(0, (heads, sizes.head_dim // 2, 2)).transpose(1, 2).reshape(value.shape).contiguous()
    )
    return result


@lru_cache(maxsize=2)
def tokenizer(file: Path) -> Vocabulary:
    """The byte-level BPE of the file: digits apart, no token before the text."""
    parts = needed("tokenizers")
    fields = _read(file).fields
    if fields["tokenizer.ggml.pre"] != "smollm":
        raise DataError(f"{file}: its tokenizer is not that of SmolLM")
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    coder = parts.Tokenizer(parts.models.BPE({token: place for place, token in enumerate(tokens)}, merges))
    digits, byte_level = parts.pre_tokenizers.Digits(individual_digits=True), parts.pre_tokenizers.ByteLevel(False)
    coder.pre_tokenizer = parts.pre_tokenizers.Sequence([digits, byte_level])
    coder.decoder = parts.decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == 3]
    coder.add_special_tokens(special)
    return Vocabulary("SmolLM2 byte-level BPE", coder)
