"""Choosing groups of attention heads, and taking the others out of all four maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from prunebench import Attention, NotApplicable, Part, Task, samples
from torch import Tensor, nn

from prunebench_methods.blocks.mlp_width_math import repaired
from prunebench_methods.blocks.parts import bias, grams_of_parts, known_anatomy, matrix, rewrite, rewrite_reader
from prunebench_methods.shared.allocation_math import Sites, shares_of
from prunebench_methods.shared.grams import Gram, grams_of
from prunebench_methods.shared.numerics import working


def fewer_heads(method: Any, network: nn.Module, task: Task) -> nn.Module:
    """`network` with fewer heads in every attention whose maps are layers of their own."""
    anatomy = known_anatomy(task)
    every = {block.name: block.attention for block in anatomy.blocks if block.attention is not None}
    chosen = {name: attention for name, attention in every.items() if _is_separate(attention)}
    if not chosen:
        why = "its queries, keys and values lie in one matrix" if every else "no attention of its blocks is known"
        raise NotApplicable(f"whole heads cannot be taken out: {why}")
    if (
        method.allocation == "uniform"
        and method.keep < 1
        and all(method.count(each.key_value_heads) == each.key_value_heads for each in chosen.values())
    ):
        fewest = min(each.key_value_heads for each in chosen.values())
        raise NotApplicable(f"keep {method.keep:g} of {fewest} key-value heads, rounded up, is all of them")
    reads = {name: attention.output for name, attention in chosen.items()}
    grams = grams_of_parts(network, task, reads, anatomy.head)
    shares = _shares(method, network, task, chosen, anatomy.head)
    for name, attention in chosen.items():
        kept = method.count(attention.key_value_heads, shares[name])
        _narrow(method, network, task, attention, grams[name], kept)
    _require_runs(network, task)
    return network


def _is_separate(attention: Attention) -> bool:
    parts = (attention.query, attention.key, attention.value, attention.output)
    return all(part.called and not part.rows for part in parts)


def _shares(
    method: Any, network: nn.Module, task: Task, chosen: Mapping[str, Attention], head: str
) -> dict[str, float]:
    """Block -> the share of its attention's heads that is kept."""
    every = {attention.output.module: attention for attention in chosen.values()}
    heads = {attention.key_value_heads for attention in every.values()}
    if method.allocation == "global" and len(heads) > 1:
        raise NotApplicable("its attentions have different numbers of heads: scores cannot be shared among them")
    held = {
        name: sum(matrix(network, part).numel() for part in (each.query, each.key, each.value, each.output))
        for name, each in every.items()
    }
    groups = max(heads)
    sites = Sites(
        network,
        task,
        held,
        grams_of(network, task, every, until=head),
        lambda name: working(matrix(network, every[name].output))[None],
        lambda worths: worths.sum((0, 1)).view(groups, -1).sum(1),
    )
    found = shares_of(method.allocation, method.keep, sites)
    return {name: found[attention.output.module] for name, attention in chosen.items()}


def _narrow(method: Any, network: nn.Module, task: Task, attention: Attention, gram: Gram, kept: int) -> None:
    if kept == attention.key_value_heads:
        task.layer(attention.output.module, left_alone="all of its heads are kept")
        return
    seen = gram.second(0, centred=method.criterion == "fluctuation")
    groups = choose(method.criterion, kept, seen, matrix(network, attention.output), attention, task.generator)
    refit = repaired(method, network, attention.output, gram, inputs_of(attention, groups), task)
    cut(network, attention, groups, *refit)
    for part in (attention.query, attention.key, attention.value, attention.output):
        task.layer(part.module, rank=kept)


def choose(
    criterion: str, count: int, moment: Tensor, output: Tensor, attention: Attention, generator: torch.Generator
) -> Tensor:
    """(count,) key-value heads that are kept, ascending, by what the heads that read them add to the output.

    `moment` is that of the output map's inputs, or their covariance for the criterion "fluctuation".
    """
    if criterion == "random":
        return torch.randperm(attention.key_value_heads, generator=generator)[:count].sort().values.to(moment.device)
    energy = moment.diagonal().clamp(min=0) * output.double().square().sum(0)
    scores = energy.view(attention.key_value_heads, -1).sum(1)
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def inputs_of(attention: Attention, groups: Tensor) -> Tensor:
    """Inputs of the output map that the heads of these groups make; they are rows of the queries as well."""
    size = attention.heads // attention.key_value_heads * attention.head_dim
    return (groups[:, None] * size + torch.arange(size, device=groups.device)).flatten()


def cut(network: nn.Module, attention: Attention, groups: Tensor, fit: Tensor | None, mean: Tensor | None) -> None:
    """Keep these groups of the attention, in place."""
    kept = inputs_of(attention, groups)
    size = attention.head_dim
    own = (groups[:, None] * size + torch.arange(size, device=groups.device)).flatten()
    for part, rows in ((attention.query, kept), (attention.key, own), (attention.value, own)):
        _keep_rows(network, part, rows)
    rewrite_reader(network, attention.output, kept, fit, mean)
    module: Any = network.get_submodule(attention.module)
    ratio = len(groups) / attention.key_value_heads
    for name in ("num_heads", "num_key_value_heads"):
        if isinstance(getattr(module, name, None), int):
            setattr(module, name, round(getattr(module, name) * ratio))


def _keep_rows(network: nn.Module, part: Part, rows: Tensor) -> None:
    own = bias(network, part)
    rewrite(network, part, matrix(network, part)[rows], None if own is None else own[rows])


def _require_runs(network: nn.Module, task: Task) -> None:
    """Raise where the network's own code asks for the number of heads that it had."""
    try:
        with torch.no_grad():
            samples.call(network, task.example_input)
    except (RuntimeError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise NotApplicable(f"its attention does not run with fewer heads ({line})") from None
