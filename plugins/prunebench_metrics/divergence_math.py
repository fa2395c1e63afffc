"""KL divergence of two language models, some hundred tokens at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from prunebench import NotApplicable, Split, TensorSplit, samples
from torch import Tensor, nn

IGNORED = -100
ROWS = 512  # tokens whose distributions are compared at once
KEPT_BYTES = 64 << 20  # what the dense network answers is kept for the next trial up to here, and asked again above

Answer = tuple[Tensor, Tensor]  # of the scored tokens of a batch: log-probabilities (N, vocabulary), first choices (N,)

_kept: WeakKeyDictionary[nn.Module, tuple[str, list[Answer]]] = WeakKeyDictionary()


def divergence(network: nn.Module, dense: nn.Module, test: Split, device: torch.device) -> dict[str, float]:
    """Means over scored tokens, summed in float64; raises `NotApplicable` where a divergence is not finite."""
    total = torch.zeros((), dtype=torch.float64)
    same = count = 0
    size = samples.batch_size(dense, samples.moved(test.head(1)[0], device))
    with torch.inference_mode():
        batches = test.batches(size, device)
        for (wanted, first), (inputs, targets) in zip(_answers(dense, test, size, device), batches, strict=True):
            own = _logits(samples.call(network, inputs))[_scored(targets)]
            for p, q in zip(wanted.split(ROWS), own.split(ROWS), strict=True):
                total += _kl(p, q).double().sum().cpu()
            same += int((first == own.argmax(1)).sum())
            count += len(own)
    if not count:
        raise NotApplicable("no token of the test is scored")
    if not bool(total.isfinite()):
        raise NotApplicable("the divergence from the dense network is not finite")
    return {"kl": float(total) / count, "same_first": same / count, "tokens": float(count)}


def _answers(dense: nn.Module, test: Split, size: int, device: torch.device) -> Iterable[Answer]:
    """Of the dense network, batch by batch: kept ones where neither it nor the test has changed since."""
    asked = (_answer(dense, inputs, targets) for inputs, targets in test.batches(size, device))
    tensors = [*dense.parameters(), *dense.buffers()]
    if not isinstance(test, TensorSplit) or samples.byte_count(tensors) > KEPT_BYTES:
        return asked
    key = f"{size} {device} {_digest([*tensors, *samples.leaves([test.inputs, test.targets])])}"
    known, answers = _kept.get(dense, ("", []))
    if known == key:
        return answers
    return _remembered(asked, lambda made: _kept.__setitem__(dense, (key, made)))


def _answer(dense: nn.Module, inputs: samples.Tree, targets: samples.Tree) -> Answer:
    logits = _logits(samples.call(dense, inputs))[_scored(targets)]
    return torch.cat([rows.float().log_softmax(1) for rows in logits.split(ROWS)]), logits.argmax(1)


def _remembered(answers: Iterable[Answer], keep: Callable[[list[Answer]], None]) -> Iterator[Answer]:
    """The same; `keep` is handed all of them at the end, unless they are too large together."""
    made: list[Answer] = []
    total = 0
    for answer in answers:
        total += samples.byte_count(list(answer))
        made = [*made, answer] if total <= KEPT_BYTES else []
        yield answer
    if total <= KEPT_BYTES:
        keep(made)


def _digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 over types, shapes and values."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _scored(targets: Any) -> Tensor:
    """(B·T,): whether a token is scored."""
    tokens: Tensor = targets["tokens"] if isinstance(targets, Mapping) else targets
    return (tokens != IGNORED).flatten()


def _logits(outputs: Any) -> Tensor:
    """(B·T, vocabulary)"""
    found = outputs if isinstance(outputs, Tensor) else getattr(outputs, "logits", None)
    if not isinstance(found, Tensor) or found.ndim != 3:
        raise NotApplicable("it compares logits (B, T, vocabulary) of language models")
    return found.flatten(0, 1)


def _kl(dense: Tensor, pruned: Tensor) -> Tensor:
    """(N,): KL(dense‖pruned) of each token's distribution, from log-probabilities and logits; at least 0."""
    q = pruned.float().log_softmax(1)
    return (dense.exp() * (dense - q)).sum(1).clamp(min=0)
