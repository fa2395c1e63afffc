"""What logits say about the tokens that come next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from prunebench import InvalidOutput, Splits, weighted_mean
from torch import Tensor, nn

IGNORED = -100  # as torch's cross-entropy has it
HELD = 1 << 20  # log-probabilities at once, 4 MB; a small piece stays in a cache
HELD_ELSEWHERE = 1 << 24  # on another device than the CPU, which a small piece would leave idle


def loss(outputs: Any, targets: Any) -> Tensor:
    """Mean over the scored tokens, differentiable."""
    logits, tokens = _fitting(outputs, targets)
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=IGNORED)


def judged(outputs: Any, targets: Any) -> dict[str, Tensor]:
    """`value` (B,): summed negative log-likelihood, float64; `weight` (B,): scored tokens; `bytes` (B,) where told."""
    logits, tokens = _fitting(outputs, targets)
    found = {"value": _summed(logits, tokens), "weight": (tokens != IGNORED).sum(1)}
    return found | ({"bytes": targets["bytes"]} if isinstance(targets, Mapping) and "bytes" in targets else {})


def _summed(logits: Tensor, tokens: Tensor) -> Tensor:
    """(B,) in float64; each row's log-probabilities in float32, some rows at a time."""
    flat, wanted = logits.flatten(0, 1), tokens.flatten()
    rows = max(1, (HELD if flat.device.type == "cpu" else HELD_ELSEWHERE) // flat.shape[1])
    losses = torch.empty(len(flat), dtype=torch.float64, device=flat.device)
    for part, own, found in zip(flat.split(rows), wanted.split(rows), losses.split(rows), strict=True):
        found.copy_(nn.functional.cross_entropy(part.float(), own, ignore_index=IGNORED, reduction="none"))
    return losses.view(tokens.shape).sum(1)


def _fitting(outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
    logits = outputs if isinstance(outputs, Tensor) else getattr(outputs, "logits", None)
    tokens = targets["tokens"] if isinstance(targets, Mapping) else targets
    if not isinstance(logits, Tensor):
        raise InvalidOutput(f"the network must return logits (B, T, vocabulary), got {type(outputs).__name__}")
    if tokens.ndim != 2 or tokens.dtype != torch.int64:
        raise InvalidOutput(f"language modelling needs int64 targets (B, T), got {tokens.dtype} {tuple(tokens.shape)}")
    if logits.ndim != 3 or logits.shape[:2] != tokens.shape:
        wanted = f"({len(tokens)}, {tokens.shape[1]}, vocabulary)"
        raise InvalidOutput(f"logits must have shape {wanted}, got {tuple(logits.shape)}")
    low, high = int(tokens.min()), int(tokens.max())
    if high >= logits.shape[2] or (low < 0 and bool(((tokens < 0) & (tokens != IGNORED)).any())):
        wrong = high if high >= logits.shape[2] else low
        raise InvalidOutput(f"the network knows {logits.shape[2]} tokens, but a target is {wrong}")
    return logits, tokens


def scores(judged: Mapping[str, Tensor]) -> dict[str, float]:
    """The numbers of a split; raises `InvalidOutput` where no token is scored."""
    tokens = int(judged["weight"].sum())
    if not tokens:
        raise InvalidOutput("no token of the split is scored: every target is ignored")
    mean = weighted_mean(judged)
    found = {"perplexity": _exp(mean), "loss": mean, "token_count": float(tokens)}
    if "bytes" in judged and int(judged["bytes"].sum()):
        found["bits_per_byte"] = float(judged["value"].sum()) / math.log(2) / int(judged["bytes"].sum())
    return found


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf


def floors(splits: Splits) -> dict[str, float]:
    """`uniform`: the vocabulary's size; `unigram`: perplexity of training frequencies, one added to each count."""
    size = splits.output_count
    found = {"uniform": float(size)}
    train, test = (_tokens(split) for split in (splits.train, splits.test))
    if train is not None and test is not None and len(train) and len(test) and int(max(train.max(), test.max())) < size:
        counts = train.bincount(minlength=size).double() + 1
        found["unigram"] = float((-(counts / counts.sum()).log()[test]).mean().exp())
    return found


def _tokens(split: Any) -> Tensor | None:
    """All scored tokens of a split that is held whole."""
    targets = getattr(split, "targets", None)
    tokens = targets["tokens"] if isinstance(targets, Mapping) else targets
    return tokens[tokens >= 0] if isinstance(tokens, Tensor) else None
