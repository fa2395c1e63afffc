"""Agreement of two networks, batch by batch."""

from __future__ import annotations

import torch
from prunebench import Split
from torch import nn

BATCH = 256


def agreement(first: nn.Module, second: nn.Module, test: Split, device: torch.device) -> dict[str, float]:
    """Share of equal predictions and mean absolute difference of logits; sums in double precision."""
    equal, distance, entries = 0, 0.0, 0
    with torch.inference_mode():
        for images, _ in test.batches(BATCH, device):
            a, b = first(images).double(), second(images).double()  # (B, classes)
            equal += int((a.argmax(1) == b.argmax(1)).sum())
            distance += float((a - b).abs().sum())
            entries += a.numel()
    return {"top1": equal / len(test), "logit_distance": distance / entries}
