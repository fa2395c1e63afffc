"""Fewer dimensions in every head of attention: those of queries and keys, and those of values and outputs.

Letters, for one key-value head and the query heads that read it: Wq (d, n) of each, Wk and Wv (d, n), Wo (D, d) of
each; C (n, n) is the second moment of what the attention reads, with a constant 1 behind it where maps have biases, so
that a bias is a column like others. No inverse of C is needed: what is inverted are moments (d, d) of queries, keys
and values, where they have any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from prunebench import Attention, NotApplicable, Part, Task, samples
from torch import Tensor, nn

from prunebench_methods.blocks.narrow_attention import Heads, NarrowAttention
from prunebench_methods.blocks.parts import bias, matrix
from prunebench_methods.shared.grams import Gram
from prunebench_methods.shared.layers import new_linear
from prunebench_methods.shared.replace import replace_module

SEEN = 1e-12  # share of the largest eigenvalue below which a direction is noise


@dataclass(frozen=True)
class Maps:
    """The maps by key-value head, in float64, each with its bias as a last column: queries (g, h, d, n + 1), keys and

    values (g, d, n + 1), outputs (g, h, D, d); the bias of the output (D,).
    """

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    output_bias: Tensor


def rows_of(network: nn.Module, part: Part) -> tuple[Tensor, Tensor | None]:
    """The part's own rows of its matrix and bias."""
    weight, own = matrix(network, part), bias(network, part)
    if part.rows:
        weight = torch.cat([weight[first:last] for first, last in part.rows])
        own = None if own is None else torch.cat([own[first:last] for first, last in part.rows])
    return weight, own


def maps_of(network: nn.Module, attention: Attention) -> Maps:
    """The four maps; the value's bias is moved into the output's, which it reaches whole: softmax rows sum to 1."""
    groups, size = attention.key_value_heads, attention.head_dim
    with_bias = []
    for part in (attention.query, attention.key, attention.value):
        weight, own = rows_of(network, part)
        column = torch.zeros(len(weight)) if own is None else own
        with_bias.append(torch.cat([weight.double(), column.double().to(weight.device)[:, None]], 1))
    output, own = rows_of(network, attention.output)
    outputs = output.double().view(len(output), groups, -1, size).permute(1, 2, 0, 3)  # (g, h, D, d)
    query, key, value = (each.view(groups, -1, size, each.shape[1]) for each in with_bias)
    value = value[:, 0].clone()
    moved = torch.einsum("ghDd,gd->D", outputs, value[..., -1])
    value[..., -1] = 0
    return Maps(query, key[:, 0], value, outputs, moved if own is None else moved + own.double())


def moment_with_one(gram: Gram) -> Tensor:
    """(n + 1, n + 1): the second moment of the inputs with a 1 behind them."""
    second, mean = gram.second(0), gram.mean[0]
    top = torch.cat([second, mean[:, None]], 1)
    return torch.cat([top, torch.cat([mean, mean.new_ones(1)])[None]])


def root_of(moment: Tensor) -> tuple[Tensor, Tensor]:
    """F (d, r) and its pseudo-inverse (r, d), F F' the moment (d, d)."""
    values, vectors = torch.linalg.eigh((moment + moment.T) / 2)
    seen = values > SEEN * values[-1].clamp_min(1e-300)
    values, vectors = values[seen], vectors[:, seen]
    return vectors * values.sqrt(), (vectors / values.sqrt()).T


def narrow_values(value: Tensor, outputs: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(k, n + 1) and (h, D, k): the values and outputs of rank k whose product loses least on inputs of this moment.

    A singular value decomposition of C^½ Wv' [Wo' …], of all query heads that read the values together.
    """
    root, inverse = root_of(value @ moment @ value.T)
    stacked = outputs.permute(2, 0, 1).flatten(1)  # (d, h D)
    left, energies, right = torch.linalg.svd(root.T @ stacked, full_matrices=False)
    kept = min(rank, len(energies))
    found = _padded(left[:, :kept].T @ inverse @ value, rank)
    back = _padded(energies[:kept, None] * right[:kept], rank)
    return found, back.view(rank, *outputs.shape[:2]).permute(1, 2, 0)


def narrow_products(queries: Tensor, key: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(h, k, n + 1) and (k, n + 1): queries and keys of rank k whose products change least, without rotation.

    A singular value decomposition of C^½ Wq' Wk C^½, of all queries that read the key together.
    """
    of_queries, back_queries = root_of(torch.einsum("hdi,ij,hej->de", queries, moment, queries))
    of_keys, back_keys = root_of(key @ moment @ key.T)
    left, energies, right = torch.linalg.svd(of_queries.T @ of_keys, full_matrices=False)
    kept = min(rank, len(energies))
    size = energies[:kept, None].sqrt()
    found = (size * (left[:, :kept].T @ back_queries)) @ queries
    keys = (size * (right[:kept] @ back_keys)) @ key
    return torch.stack([_padded(each, rank) for each in found]), _padded(keys, rank)


def _padded(rows: Tensor, count: int) -> Tensor:
    """Rows of zeros after those that the data gave."""
    missing = count - len(rows)
    return rows if missing <= 0 else torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])


def kept_pairs(queries: Tensor, key: Tensor, moment: Tensor, count: int) -> Tensor:
    """(count,) pairs of rotated dimensions (i, i + d/2) of a head whose norms of queries and keys weigh most."""
    of_queries = torch.einsum("hdi,ij,hdj->d", queries, moment, queries).clamp_min(0)
    of_keys = torch.einsum("di,ij,dj->d", key, moment, key).clamp_min(0)
    scores = (of_queries * of_keys).view(2, -1).sum(0)
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def narrowed(maps: Maps, moment: Tensor, rank: int, rotary: int) -> tuple[Maps, Tensor | None]:
    """The maps with heads of `rank` dimensions, and with rotation the pairs (g, rank / 2) that stayed."""
    values = [narrow_values(v, o, moment, rank) for v, o in zip(maps.value, maps.output, strict=True)]
    found = replace(maps, value=torch.stack([v for v, _ in values]), output=torch.stack([o for _, o in values]))
    if not rotary:
        both = [narrow_products(q, k, moment, rank) for q, k in zip(maps.query, maps.key, strict=True)]
        return replace(found, query=torch.stack([q for q, _ in both]), key=torch.stack([k for _, k in both])), None
    pairs = torch.stack([kept_pairs(q, k, moment, rank // 2) for q, k in zip(maps.query, maps.key, strict=True)])
    places = torch.cat([pairs, pairs + rotary // 2], 1)  # (g, rank)
    query = torch.stack([q[:, at] for q, at in zip(maps.query, places, strict=True)])
    return replace(found, query=query, key=torch.stack([k[at] for k, at in zip(maps.key, places, strict=True)])), pairs


def drawn(maps: Maps, rank: int, rotary: int, generator: torch.Generator) -> tuple[Maps, Tensor | None]:
    """The maps with `rank` dimensions of each head drawn at random, and with rotation the pairs (g, rank / 2) of them.

    Queries and keys keep the same dimensions, as do values and outputs; no map is refitted.
    """
    groups, size = maps.key.shape[:2]
    pairs = None
    if rotary:
        pairs = _drawn(groups, rotary // 2, rank // 2, generator).to(maps.key.device)
        of_products = torch.cat([pairs, pairs + rotary // 2], 1)  # (g, rank)
    else:
        of_products = _drawn(groups, size, rank, generator).to(maps.key.device)
    of_values = _drawn(groups, size, rank, generator).to(maps.key.device)
    every = range(groups)
    narrow = replace(
        maps,
        query=torch.stack([maps.query[g][:, of_products[g]] for g in every]),
        key=torch.stack([maps.key[g][of_products[g]] for g in every]),
        value=torch.stack([maps.value[g][of_values[g]] for g in every]),
        output=torch.stack([maps.output[g][..., of_values[g]] for g in every]),
    )
    return narrow, pairs


def _drawn(groups: int, whole: int, count: int, generator: torch.Generator) -> Tensor:
    """(groups, count) of so many, ascending, drawn for each group by itself."""
    rows = [torch.randperm(whole, generator=generator)[:count].sort().values for _ in range(groups)]
    return torch.stack(rows)


def reason(network: nn.Module, attention: Attention) -> str:
    """Why no attention with narrower heads can take this one's place, or an empty string."""
    module: Any = network.get_submodule(attention.module)
    if attention.normed:
        return "its queries and keys pass a norm"
    if attention.rotary and (attention.rotary != attention.head_dim or attention.rotary_pairs != "halves"):
        return "only a part of its dimensions is rotated, or in another order"
    if attention.rotary and not isinstance(getattr(module, "rotary_base", None), float):
        return "the angles of its rotation are not known"
    reads_images = not attention.causal and attention.query.called and not attention.query.rows
    is_plain = attention.rotary > 0 or hasattr(module, "qkv") or reads_images
    return "" if is_plain or isinstance(module, nn.MultiheadAttention) else "the way it is called is not known"


def source(network: nn.Module, attention: Attention) -> str:
    """The module that is given what the attention reads."""
    return attention.query.module if attention.query.called else attention.module


def put_narrow(
    network: nn.Module, attention: Attention, gram: Gram, rank: int, generator: torch.Generator | None = None
) -> None:
    """The attention with heads of `rank` dimensions in its place; a generator draws them instead of choosing."""
    module: Any = network.get_submodule(attention.module)
    maps = maps_of(network, attention)
    if generator is None:
        maps, pairs = narrowed(maps, moment_with_one(gram), rank, attention.rotary)
    else:
        maps, pairs = drawn(maps, rank, attention.rotary, generator)
    like = network.get_submodule(attention.output.module)
    has_bias = bias(network, attention.query) is not None or bias(network, attention.key) is not None
    layers = [_linear(like, each.flatten(0, -2), has_bias) for each in (maps.query, maps.key, maps.value)]
    layers[2] = _linear(like, maps.value.flatten(0, -2), False)
    wide = maps.output.permute(2, 0, 1, 3).flatten(1)  # (D, g h k)
    own = bias(network, attention.output) is not None or bool(maps.output_bias.any())
    layers.append(new_linear(like, wide, maps.output_bias if own else None))
    is_torch = isinstance(module, nn.MultiheadAttention)
    heads = Heads(
        attention.heads,
        attention.key_value_heads,
        attention.head_dim**-0.5,
        attention.causal,
        module.batch_first if is_torch else True,
        is_torch,
    )
    angles = None
    if pairs is not None:
        base = float(module.rotary_base)
        every = 1.0 / base ** (torch.arange(0, attention.rotary, 2, device=pairs.device).float() / attention.rotary)
        angles = every[pairs]
    new = NarrowAttention((layers[0], layers[1], layers[2], layers[3]), heads, angles)
    replace_module(network, attention.module, new)


def _linear(like: nn.Module, weight: Tensor, has_bias: bool) -> nn.Linear:
    """A layer of a weight whose last column is its bias."""
    return new_linear(like, weight[:, :-1], weight[:, -1] if has_bias else None)


def require_runs(network: nn.Module, task: Task) -> None:
    """Raise `NotApplicable` where the network's own code asks for what is not there any more."""
    try:
        with torch.no_grad():
            samples.call(network, task.example_input)
    except (RuntimeError, ValueError, AttributeError, TypeError) as error:
        line = str(error).strip().splitlines()[0]
        raise NotApplicable(f"its attention does not run with narrower heads ({line})") from None
