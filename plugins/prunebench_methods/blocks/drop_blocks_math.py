"""Scoring blocks by what they do to the residual stream, and taking them out."""

from __future__ import annotations

import math
from typing import Any

import torch
from prunebench import Anatomy, NotApplicable, Task
from torch import Tensor, nn

from prunebench_methods.blocks.parts import known_anatomy
from prunebench_methods.shared.calibration import entered, run_calibration


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


def distances(network: nn.Module, task: Task, anatomy: Anatomy, span: int, angular: bool) -> Tensor:
    """(blocks + 1 − span,) in float64: how far `span` blocks in a row take the residual stream.

    1 − mean cosine over all positions, or the mean angle over π, there at the last position of a causal network.
    """
    names = [block.name for block in anatomy.blocks]
    last_only = angular and all(block.attention is not None and block.attention.causal for block in anatomy.blocks)
    totals = torch.zeros(len(names) + 1 - span, dtype=torch.float64)
    seen: list[Tensor] = []
    rows = [0]

    def arrived(name: str, x: Tensor) -> None:
        seen.append(x.detach()[:, -1] if last_only else x.detach().flatten(0, -2))

    def finished(module: nn.Module, inputs: Any, output: Any) -> None:
        arrived("", output[0] if isinstance(output, tuple) else output)
        for place in range(len(totals)):
            cosine = nn.functional.cosine_similarity(seen[place].double(), seen[place + span].double(), dim=-1)
            value = torch.arccos(cosine.clamp(-1, 1)) / math.pi if angular else 1 - cosine
            totals[place] += float(value.sum())
        rows[0] += len(seen[0])
        seen.clear()

    handle = network.get_submodule(names[-1]).register_forward_hook(finished)  # what comes out of it has no name
    try:
        with entered(network, names, arrived):
            run_calibration(network, task, until=anatomy.head)
    finally:
        handle.remove()
    return totals / max(1, rows[0])


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
