"""Stacking layers of neighbouring blocks and factorizing them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from prunebench import Block, LayerShape, NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.low_rank.forms import rank_for
from prunebench_methods.low_rank.informed_math import principal_product
from prunebench_methods.low_rank.pivots import Pivoted, pivot_rows
from prunebench_methods.shared.allocation import by_influence
from prunebench_methods.shared.allocation_math import Sites, block_influence
from prunebench_methods.shared.gain import too_slow
from prunebench_methods.shared.grams import Gram, grams_of
from prunebench_methods.shared.importance import ALIKE
from prunebench_methods.shared.layers import new_linear
from prunebench_methods.shared.replace import nothing_left, replace_module, shapes_by_name
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
    shares = stack_shares(method, network, task, stacks)
    slow: dict[str, str] = {}
    changed = False
    for names in stacks:
        layers = [_linear(network, name) for name in names]
        rank = rank_within(layers, shares[names[0]], method.form)
        if not rank:
            for name in names:
                task.layer(name, left_alone="even rank 1 has more weights than the share allows")
            continue
        bases, shared = factors(layers, [grams[name] for name in names], rank)
        joined = (on_factors if method.form == "factors" else on_pivots)(layers, bases, shared)
        if why := _too_slow(method, task, dict(zip(names, zip(layers, joined, strict=True), strict=True))):
            slow |= dict.fromkeys(names, why)
            for name in names:
                task.layer(name, left_alone=why)
            continue
        for name, new in zip(names, joined, strict=True):
            network = replace_module(network, name, new)
            task.layer(name, rank=rank)
        changed = True
    if slow and not changed:
        raise NotApplicable(nothing_left(slow))
    return network


def stack_shares(method: BasisSharing, network: nn.Module, task: Task, stacks: list[list[str]]) -> dict[str, float]:
    """First layer of a stack -> the share of its weights that it may have; all together at most the method's."""
    counts = {names[0]: sum(_linear(network, name).weight.numel() for name in names) for names in stacks}
    if method.allocation == "uniform":
        return dict.fromkeys(counts, method.keep)

    def no_weight(name: str) -> Tensor:
        raise KeyError(name)  # the influence of blocks looks at none

    sites = Sites(network, task, counts, {}, no_weight)
    influence = {names[0]: sum(block_influence(sites, name) for name in names) / len(names) for names in stacks}
    return by_influence(influence, counts, method.keep)


def _too_slow(method: BasisSharing, task: Task, pairs: dict[str, tuple[nn.Linear, nn.Module]]) -> str:
    """Why layers that would share stay dense, all of them where one gains too little, or an empty string."""
    if method.min_gain is None:
        return ""
    shapes = shapes_by_name(task)
    whys = (
        too_slow(layer, new, shapes[name], method.min_gain, method.gain_batch) for name, (layer, new) in pairs.items()
    )
    return next(filter(None, whys), "")


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


def rank_within(layers: list[nn.Linear], keep: float, form: str = "factors") -> int:
    """The largest rank at which the stack's product has at most this share of its weights; 0 where none has."""
    rows, columns = sum(len(layer.weight) for layer in layers), layers[0].weight.shape[1]
    return rank_for(LayerShape("stack", "linear", rows, columns), keep, form)


def on_factors(layers: list[nn.Linear], bases: list[Tensor], shared: Tensor) -> list[nn.Module]:
    """Each layer as the shared narrow one and its own basis (m, r)."""
    inner = new_linear(layers[0], shared)
    pairs = zip(layers, bases, strict=True)
    return [nn.Sequential(inner, new_linear(layer, basis, layer.bias)) for layer, basis in pairs]


def on_pivots(layers: list[nn.Linear], bases: list[Tensor], shared: Tensor) -> list[nn.Module]:
    """Each layer as the rows of the stack that all share, of which some are its own, and its other rows from those."""
    order, others = pivot_rows(torch.cat(bases))
    rank = len(shared)
    rows = torch.cat(bases)[order[:rank]] @ shared
    has_bias = any(layer.bias is not None for layer in layers)
    biases = torch.cat([_bias(layer) for layer in layers]).double()
    own = biases[order[:rank]]
    inner = new_linear(layers[0], rows, own if has_bias else None)
    new: list[nn.Module] = []
    first = 0
    for layer in layers:
        here = (order[rank:] >= first) & (order[rank:] < first + len(layer.weight))
        made = others[here]
        rest = new_linear(layer, made, biases[order[rank:][here]] - made @ own if has_bias else None)
        have = torch.cat([order[:rank], order[rank:][here]])  # which row of the stack stands where
        wanted = torch.arange(first, first + len(layer.weight), device=have.device)
        new.append(Pivoted(inner, rest, (have[None] == wanted[:, None]).int().argmax(1), -1))
        first += len(layer.weight)
    return new


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach()


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
