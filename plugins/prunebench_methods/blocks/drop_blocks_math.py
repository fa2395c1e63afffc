"""Scoring blocks by what they do to the residual stream, and taking them out."""

from __future__ import annotations

from typing import Any

import torch
from prunebench import Anatomy, NotApplicable, Task
from torch import nn

from prunebench_methods.blocks.parts import known_anatomy
from prunebench_methods.shared.influence import distances


def without_blocks(method: Any, network: nn.Module, task: Task) -> nn.Module:
    """`network` without the blocks that the method's criterion names."""
    anatomy = known_anatomy(task)
    names = [block.name for block in anatomy.blocks]
    if method.drop >= len(names):
        raise NotApplicable(f"the network has {len(names)} blocks: {method.drop} cannot be left out")
    if len({name.rpartition(".")[0] for name in names}) > 1:
        raise NotApplicable("its blocks lie in more than one list")
    chosen = _chosen(method, network, task, anatomy)
    for place in chosen:
        for shape in task.shapes:
            if shape.name.startswith(f"{names[place]}."):
                task.layer(shape.name, rank=0)
    remove(network, names, chosen)
    if chosen:
        task.note("blocks left out: " + ", ".join(str(place) for place in chosen))
    return network


def _chosen(method: Any, network: nn.Module, task: Task, anatomy: Anatomy) -> list[int]:
    """Places of the blocks that go, ascending."""
    count = len(anatomy.blocks)
    if not method.drop:
        return []
    if method.criterion == "random":
        return sorted(torch.randperm(count, generator=task.generator)[: method.drop].tolist())
    span = method.drop if method.criterion == "angular" else 1
    key = ("cosines of blocks", method.criterion, span)
    scores = task.once(key, lambda: distances(network, task, anatomy, span, method.criterion == "angular"))
    if method.criterion == "angular":
        first = int(scores.argmin())
        return list(range(first, first + span))
    return sorted(scores.argsort(stable=True)[: method.drop].tolist())


def remove(network: nn.Module, names: list[str], chosen: list[int]) -> None:
    """Take blocks out of their list in place, and renumber what counts them: caches go by a block's number."""
    container = network.get_submodule(names[0].rpartition(".")[0])
    if not isinstance(container, nn.ModuleList | nn.Sequential):
        raise NotApplicable(f"its blocks lie in a {type(container).__name__}, not in a list")
    blocks = list(container)
    gone = {id(network.get_submodule(names[place])) for place in chosen}
    places = [place for place, block in enumerate(blocks) if id(block) in gone]
    for place in reversed(places):
        del container[place]
    for number, block in enumerate(container):
        for module in block.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                module.layer_idx = number  # type: ignore[assignment]
    _recount(network, len(blocks), places)


def _recount(network: nn.Module, before: int, places: list[int]) -> None:
    """Configurations that say how many blocks there are, and the kind of each."""
    for config in {id(c): c for m in network.modules() if (c := getattr(m, "config", None)) is not None}.values():
        kinds = getattr(config, "layer_types", None)
        if isinstance(kinds, list) and len(kinds) == before:
            config.layer_types = [kind for place, kind in enumerate(kinds) if place not in places]
        if getattr(config, "num_hidden_layers", None) == before:
            config.num_hidden_layers = before - len(places)
    for module in network.modules():
        if getattr(module, "num_layers", None) == before:  # torch's own encoder
            module.num_layers = before - len(places)  # type: ignore[assignment]
