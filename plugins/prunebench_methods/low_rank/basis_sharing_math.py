"""Stacking layers of neighbouring blocks and factorizing them together."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from prunebench import Block, NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.low_rank.informed_math import principal_product
from prunebench_methods.shared.grams import Gram, grams_of
from prunebench_methods.shared.importance import ALIKE
from prunebench_methods.shared.layers import new_linear
from prunebench_methods.shared.replace import replace_module
from prunebench_methods.shared.selection import refusals

if TYPE_CHECKING:
    from prunebench_methods.low_rank.basis_sharing import BasisSharing


def share_bases(method: BasisSharing, network: nn.Module, task: Task) -> nn.Module:
    """`network` with shared inner factors."""
    if task.anatomy is None:
        raise NotApplicable("it shares between transformer blocks, and the anatomy of this network is not known")
    refused = refusals(task.shapes)
    stacks = _stacks(network, task.anatomy.blocks, method.together)
    stacks = [names for names in stacks if not any(refused.get(name) for name in names)]
    if not stacks:
        raise NotApplicable(f"no {method.together} neighbouring blocks have layers of one shape that can be replaced")
    if method.keep == 1:
        task.note("all of the weights are kept: nothing is changed")
        return network
    grams = grams_of(network, task, (name for names in stacks for name in names), until=task.anatomy.head)
    for names in stacks:
        layers = [_linear(network, name) for name in names]
        rank = rank_within(layers, method.keep)
        if not rank:
            for name in names:
                task.layer(name, left_alone="even rank 1 has more weights than the share allows")
            continue
        bases, shared = factors(layers, [grams[name] for name in names], rank)
        inner = new_linear(layers[0], shared)
        for name, layer, basis in zip(names, layers, bases, strict=True):
            network = replace_module(network, name, nn.Sequential(inner, new_linear(layer, basis, layer.bias)))
            task.layer(name, rank=rank)
    return network


def _stacks(network: nn.Module, blocks: tuple[Block, ...], together: int) -> list[list[str]]:
    """Names of layers that read the stream in one place of blocks after each other, whole runs of `together`."""
    found = []
    for first in range(0, len(blocks) - together + 1, together):
        each = [_places(network, block) for block in blocks[first : first + together]]
        for place in each[0]:
            names = [places[place] for places in each if place in places]
            shapes = {_linear(network, name).weight.shape for name in names}
            if len(names) == together and len(shapes) == 1:
                found.append(names)
    return found


def _places(network: nn.Module, block: Block) -> dict[str, str]:
    """Place within the block -> the layer's name."""
    attention, mlp = block.attention, block.mlp
    parts = [attention.query, attention.key, attention.value] if attention else []
    parts += [part for part in (mlp.up, mlp.gate) if part is not None] if mlp else []
    names = (part.module for part in parts if part.called)
    return {n.removeprefix(block.name): n for n in names if type(network.get_submodule(n)) is nn.Linear}


def _linear(network: nn.Module, name: str) -> nn.Linear:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Linear)  # `_places` names no other
    return layer


def rank_within(layers: list[nn.Linear], keep: float) -> int:
    """The largest rank r whose r (n + all rows) weights are within the share; 0 where none is."""
    rows, columns = sum(len(layer.weight) for layer in layers), layers[0].weight.shape[1]
    return min(math.floor(Fraction(repr(float(keep))) * rows * columns) // (rows + columns), rows, columns)


def factors(layers: list[nn.Linear], grams: list[Gram], rank: int) -> tuple[list[Tensor], Tensor]:
    """One left factor (m, r) for each layer and the right one (r, n) that they share."""
    stacked = torch.cat([layer.weight.detach().double() for layer in layers])
    product = principal_product(stacked, pooled(grams), ALIKE, centred=False)
    left, right = product.cut(rank, stacked)
    return list(left.split([len(layer.weight) for layer in layers])), right


def pooled(grams: list[Gram]) -> Gram:
    """The Gram matrix of all their inputs together."""
    products = sum((gram.second(0) * gram.count for gram in grams[1:]), grams[0].second(0) * grams[0].count)
    total = torch.stack([gram.total for gram in grams if gram.total is not None]).sum(0)
    return Gram(sum(gram.count for gram in grams), total, products[None])
