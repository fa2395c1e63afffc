"""What blocks of a transformer do to its residual stream."""

from __future__ import annotations

import math
from typing import Any

import torch
from prunebench import Anatomy, Task
from torch import Tensor, nn

from prunebench_methods.shared.calibration import entered, run_calibration


def block_influences(network: nn.Module, task: Task, anatomy: Anatomy) -> dict[str, float]:
    """Block -> 1 − the mean cosine between what goes into it and what comes out (Men et al., 2024)."""
    found = distances(network, task, anatomy, 1, angular=False)
    return dict(zip((block.name for block in anatomy.blocks), found.tolist(), strict=True))


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
