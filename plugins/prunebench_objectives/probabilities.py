"""What a softmax over the last axis has for curvature."""

from __future__ import annotations

import torch
from torch import Tensor


def spread(outputs: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction of every row of logits whose second moment is diag(p) - p p'."""
    chances = outputs.double().softmax(-1)
    noise = torch.randn(outputs.shape, generator=generator, dtype=torch.float64).to(chances.device)
    moved = chances.sqrt() * noise
    return (moved - chances * moved.sum(-1, keepdim=True)).to(outputs.dtype)
