"""Narrowing attentions and MLPs block by block, from one pass of the dense network."""

from __future__ import annotations

import math
from typing import Any

from prunebench import Attention, NotApplicable, Task
from torch import nn

from prunebench_methods.blocks.attention_math import put_narrow, reason, require_runs, source
from prunebench_methods.blocks.mlp_width_math import narrow
from prunebench_methods.blocks.parts import known_anatomy
from prunebench_methods.shared.allocation_math import Sites, shares_of
from prunebench_methods.shared.grams import grams_of


def narrow_modules(method: Any, network: nn.Module, task: Task) -> nn.Module:
    """`network` with narrower heads and, if the method says so, narrower MLPs."""
    anatomy = known_anatomy(task)
    attentions = {block.name: block.attention for block in anatomy.blocks if block.attention is not None}
    reasons = {name: reason(network, each) for name, each in attentions.items()}
    for name, why in reasons.items():
        if why:
            task.layer(attentions[name].output.module, left_alone=why)
    if all(reasons.values()) and not method.narrows_mlps:
        raise NotApplicable(next(iter(reasons.values()), "no attention of its blocks is known"))
    chosen = {name: each for name, each in attentions.items() if not reasons[name]}
    downs = [block.mlp.down.module for block in anatomy.blocks if block.mlp] if method.narrows_mlps else []
    grams = grams_of(network, task, [*(source(network, each) for each in chosen.values()), *downs], until=anatomy.head)
    shares = _shares(method, network, task)
    generator = task.generator if method.draws else None
    if downs:
        network = narrow(method.mlps(method.keep), network, task, shares)
    for name, attention in chosen.items():
        rank = _dimensions(attention, shares[name], method.round_to)
        if rank == attention.head_dim:
            task.layer(attention.output.module, left_alone="all dimensions of its heads are kept")
            continue
        put_narrow(network, attention, grams[source(network, attention)], rank, generator)
        for part in dict.fromkeys((attention.query, attention.key, attention.value, attention.output)):
            task.layer(part.module, rank=rank)
    require_runs(network, task)
    return network


def _shares(method: Any, network: nn.Module, task: Task) -> dict[str, float]:
    """Block -> the share that is kept; blocks count alike."""
    counts = {block.name: 1 for block in known_anatomy(task).blocks}

    def no_weight(name: str) -> Any:
        raise KeyError(name)  # shares by influence look at none

    return shares_of(method.allocation, method.keep, Sites(network, task, counts, {}, no_weight))


def _dimensions(attention: Attention, keep: float, round_to: int) -> int:
    """Dimensions of a head that are kept."""
    wanted = math.ceil(keep * attention.head_dim - 1e-9)
    return min(attention.head_dim, -(-wanted // round_to) * round_to)
