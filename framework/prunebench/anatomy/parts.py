"""The anatomy of a network as frozen plain data. Names are places in `network.named_modules()`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """The place of one linear map's matrix: a tensor of a module, or some rows of it.

    `rows` are half-open ranges of output rows, in the order in which the map's outputs take them; empty for all.
    `transposed` says that the tensor is stored as (in, out), as GPT-2 has it. `called` is False where the network reads
    the tensor without calling the module, so that a module put in its place would be passed over.
    """

    module: str
    weight: str = "weight"
    bias: str = ""  # empty where there is none
    rows: tuple[tuple[int, int], ...] = ()
    transposed: bool = False
    called: bool = True


@dataclass(frozen=True)
class Attention:
    """One attention: queries (heads·head_dim, in), keys and values (key_value_heads·head_dim, in), output (out, …).

    Query head h reads key-value head h // (heads / key_value_heads). `rotary` is the number of dimensions of a head
    that are rotated, 0 for none; `rotary_pairs` says which two of them turn together: "halves" for i and i + rotary/2,
    "neighbours" for 2i and 2i + 1. `normed` says that queries and keys pass a norm of their own.
    """

    module: str
    query: Part
    key: Part
    value: Part
    output: Part
    heads: int
    key_value_heads: int
    head_dim: int
    rotary: int = 0
    rotary_pairs: str = "halves"
    causal: bool = True
    normed: bool = False


@dataclass(frozen=True)
class Mlp:
    """Two linear maps with a function of single entries between: down(act(up(x))), or down(act(gate(x)) · up(x))."""

    up: Part
    down: Part
    width: int
    gate: Part | None = None


@dataclass(frozen=True)
class Block:
    """One block: it reads the residual stream and adds to it.

    `attention` or `mlp` is None where the block has none, or not one whose parts are known to compute as plain linear
    maps do. `writers` are the modules whose outputs are added to the residual stream. `parallel` blocks add both parts
    to one input. `pre_norm` says that norms stand before the parts and not on the residual stream itself.
    """

    name: str
    attention: Attention | None
    mlp: Mlp | None
    norms: tuple[str, ...]
    writers: tuple[str, ...]
    pre_norm: bool = True
    parallel: bool = False


@dataclass(frozen=True)
class Anatomy:
    """A stack of blocks between embeddings and a head.

    `head` is the module that gives the logits, empty where none is known or where the network multiplies with an
    embedding directly; `tied` says that its matrix is an embedding's.
    """

    blocks: tuple[Block, ...]
    embeddings: tuple[str, ...] = ()
    final_norm: str = ""
    head: str = ""
    tied: bool = False

    @property
    def protected(self) -> frozenset[str]:
        """The embeddings and the head: what methods leave as it is unless they are asked."""
        return frozenset(name for name in (*self.embeddings, self.head) if name)
