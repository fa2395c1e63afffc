"""Causal decoders of transformers: safetensors only, no code of a repository, no network unless it was asked for."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from prunebench import DataError, NotApplicable
from safetensors import SafetensorError
from torch import Tensor, nn

from prunebench_models.gguf_decoder import needed
from prunebench_models.vocabulary import Vocabulary

Past = list[tuple[Tensor, Tensor]]  # keys and values (B, heads, tokens, head_dim) of each block


class Logits(nn.Module):
    """A decoder of transformers that answers logits alone and keeps no cache."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, past: Past | None = None) -> Tensor:
        """Tokens (B, T) to logits (B, T, vocabulary); with `past`, keys and values of the tokens before, (B, 1)."""
        if past is None:
            found: Tensor = self.decoder(input_ids=tokens, use_cache=False).logits
        else:
            behind = {cache_name(self.decoder): _cache(past)}
            found = self.decoder(input_ids=tokens, use_cache=True, **behind).logits
        return found

    def get_output_embeddings(self) -> Any:
        """The head, by its role."""
        decoder: Any = self.decoder
        return decoder.get_output_embeddings()


@lru_cache
def _takes_cache(forward: Callable[..., Any]) -> bool:
    return "cache" in inspect.signature(forward).parameters


def cache_name(decoder: nn.Module) -> str:
    """What this version of transformers calls the keys and values of earlier tokens."""
    return "cache" if _takes_cache(type(decoder).forward) else "past_key_values"


def _cache(past: Past) -> Any:
    """A cache of transformers that holds these tensors and makes new ones of what is added."""
    cache = needed("transformers").DynamicCache()
    for place, (keys, values) in enumerate(past):
        cache.update(keys, values, place)
    return cache


def cached(network: nn.Module, tokens: Tensor) -> tuple[Tensor, Past]:
    """What `network` is called with to read the last of `tokens` (B, T).

    Raises `NotApplicable` where it does not keep all earlier tokens, block by block.
    """
    if not isinstance(network, Logits):
        raise NotApplicable("it is no longer a decoder of transformers")
    answer = network.decoder(input_ids=tokens[:, :-1], use_cache=True)
    found = getattr(answer, cache_name(network.decoder), None)
    layers = getattr(found, "layers", None)
    if not layers or any(getattr(layer, "keys", None) is None for layer in layers):
        raise NotApplicable(f"{type(found).__name__} of transformers does not say what each block keeps")
    if any(layer.keys.shape[2] != tokens.shape[1] - 1 for layer in layers):
        raise NotApplicable("its blocks keep only a part of the earlier tokens")
    return tokens[:, -1:], [(layer.keys, layer.values) for layer in layers]


def facts(model: Any, network: nn.Module) -> dict[str, Any]:
    """Where the weights are from, and how transformers computes attention."""
    config = getattr(getattr(network, "decoder", None), "config", None)
    source = {"weights": f"folder, sha256 {weights_key(Path(model.folder).expanduser())[:16]}"}
    if model.repo:
        source = {"weights": model.repo, "revision": getattr(config, "_commit_hash", None) or model.revision}
    return {**source, "attention": f"transformers {getattr(config, '_attn_implementation', '') or 'unknown'}"}


def place_of(model: Any) -> str:
    """The folder, or the repository's name; raises `DataError` for a folder that holds no model to be trusted."""
    if not model.folder:
        return str(model.repo)
    folder = Path(model.folder).expanduser()
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder} holds no model: config.json is missing")
    if not any(folder.glob("*.safetensors")):
        pickled = [file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern)]
        why = f"{pickled[0]} is a pickle, which may run any code" if pickled else "there are no weights"
        raise DataError(f"{folder}: {why}; save it as safetensors: model.save_pretrained(folder)")
    return str(folder)


@contextmanager
def explained(what: str, fetch: bool) -> Iterator[None]:
    """Errors of transformers and of the hub as one line."""
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = "" if fetch else "; nothing is fetched unless the grid says fetch = true"
        raise DataError(f"{what}: {line}{hint}") from None


def _options(model: Any) -> dict[str, Any]:
    return {"revision": model.revision, "local_files_only": not model.fetch, "trust_remote_code": False}


def network(model: Any, outputs: int) -> nn.Module:
    """The decoder with its weights, ready for logits; raises `DataError` with the reason where it cannot be had."""
    transformers = needed("transformers")
    place = place_of(model)
    with explained(place, model.fetch):
        config = transformers.AutoConfig.from_pretrained(place, **_options(model))
        _check(config, model, outputs, place)
        made = transformers.AutoModelForCausalLM.from_pretrained(
            place, config=config, dtype=getattr(torch, model.dtype), use_safetensors=True, **_options(model)
        )
    return Logits(made.eval())


def _check(config: Any, model: Any, outputs: int, place: str) -> None:
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and model.window > longest:
        raise DataError(f"{place} reads at most {longest} tokens, the window is {model.window}: set window = {longest}")
    if outputs > config.vocab_size:
        raise DataError(f"{place} knows {config.vocab_size} tokens, its tokenizer has {outputs}: it does not fit")


def tokenizer(model: Any) -> Vocabulary:
    """The model's own fast tokenizer."""
    transformers = needed("transformers")
    place = place_of(model)
    with explained(f"the tokenizer of {place}", model.fetch):
        found = transformers.AutoTokenizer.from_pretrained(place, **_options(model))
    backend = getattr(found, "backend_tokenizer", None)
    if backend is None:
        raise DataError(f"{place}: its tokenizer has no fast form (tokenizer.json)")
    return Vocabulary(f"{type(found).__name__} of {model.repo or Path(model.folder).name}", backend)


def weights_key(folder: Path) -> str:
    """SHA-256 over the names and bytes of a folder's weights and configuration."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        digest.update(json.dumps([file.name, file.stat().st_size]).encode())
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()
