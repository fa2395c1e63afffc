"""Whether a trial has room on its device, asked before it starts: figures instead of a crash halfway."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from prunebench import samples
from prunebench.measure.memory_need import (
    free_bytes,
    gram_bytes,
    is_roomy,
    lack,
    need,
    said,
    weight_bytes,
    working_bytes,
)
from prunebench.records import Recipe
from prunebench.samples import Tree
from prunebench.trial.task import Memory
from prunebench.trial.workbench import DenseNetwork

KEPT_BY = {"adam": 2, "adamw": 2}  # tensors like the weights that an optimizer keeps; others one, for momentum


def require_room(dense: DenseNetwork, finetune: Recipe, device: torch.device, memory: Memory) -> list[str]:
    """Notes on what may not fit; raises `torch.OutOfMemoryError` with the figures where the trial surely does not.

    Reckoned are dense and pruned networks side by side, one batch, and what fine-tuning keeps beside its activations.
    Where a lot is free, nothing is reckoned; elsewhere one batch is tried once per dense network, in its `memory`.
    """
    free, own = free_bytes(device), weight_bytes(dense.network)
    if is_roomy(free, 2 * own):
        return []
    batch = min(dense.batch_size, len(dense.splits.test))
    tried = partial(batch_bytes, dense.network, dense.calibration, batch, device)
    working = memory.get("bytes of a batch", tried)[0]
    training = own * (1 + KEPT_BY.get(finetune.optimizer, 1)) if finetune.trains else 0
    needed, limit = need(own, own, working, training=training), free + own
    if needed.total > limit:
        raise lack("the trial", needed, device, limit)
    grams = gram_bytes(dense.shapes, dense.anatomy(dense.network))
    if needed.total + grams <= limit:
        return []
    left = said(limit - needed.total)
    return [f"Gram matrices of all layers would take {said(grams)}, {left} are free beside both networks"]


def batch_bytes(network: nn.Module, tree: Tree, batch: int, device: torch.device) -> int:
    """What one call on `batch` samples works in, from calls on one and on two: kernels' own space does not grow."""
    one = working_bytes(network, samples.rows(tree, slice(1)), device)
    if batch <= 1 or samples.count(tree) < 2:
        return one * max(1, batch)
    two = working_bytes(network, samples.rows(tree, slice(2)), device)
    return one + max(0, two - one) * (batch - 1)
