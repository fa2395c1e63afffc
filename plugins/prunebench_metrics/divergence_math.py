"""KL divergence of two language models, some hundred tokens at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from prunebench import NotApplicable, Split, samples
from torch import Tensor, nn

IGNORED = -100
ROWS = 512  # tokens whose distributions are compared at once


def divergence(network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> dict[str, float]:
    """Means over scored tokens, summed in float64; raises `NotApplicable` where a divergence is not finite."""
    total = torch.zeros((), dtype=torch.float64)
    same = count = 0
    size = samples.batch_size(dense, samples.moved(test.head(1)[0], device))
    with torch.inference_mode():
        for inputs, targets in test.batches(size, device):
            tokens = targets["tokens"] if isinstance(targets, Mapping) else targets
            scored = (tokens != IGNORED).flatten()
            outputs = [_logits(samples.call(each, inputs)) for each in (network, dense)]
            own, wanted = (found[scored] for found in outputs)
            for p, q in zip(wanted.split(ROWS), own.split(ROWS), strict=True):
                total += _kl(p, q).double().sum().cpu()
                same += int((p.argmax(1) == q.argmax(1)).sum())
            count += len(own)
    if not count:
        raise NotApplicable("no token of the test is scored")
    if not bool(total.isfinite()):
        raise NotApplicable("the divergence from the dense network is not finite")
    return {"kl": float(total) / count, "same_first": same / count, "tokens": float(count)}


def _logits(outputs: Any) -> Tensor:
    """(B·T, vocabulary)"""
    found = outputs if isinstance(outputs, Tensor) else getattr(outputs, "logits", None)
    if not isinstance(found, Tensor) or found.ndim != 3:
        raise NotApplicable("it compares logits (B, T, vocabulary) of language models")
    return found.flatten(0, 1)


def _kl(dense: Tensor, pruned: Tensor) -> Tensor:
    """(N,): KL(dense‖pruned) of each token's distribution, at least 0."""
    p, q = dense.float().log_softmax(1), pruned.float().log_softmax(1)
    return (p.exp() * (p - q)).sum(1).clamp(min=0)
