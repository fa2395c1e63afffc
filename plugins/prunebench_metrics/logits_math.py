"""Numbers that follow from logits (N, C) and labels (N,), in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from prunebench import NotApplicable, Split
from torch import Tensor, nn

BATCH = 256
Change = Callable[[Tensor], Tensor]


def answers(
    networks: Sequence[nn.Module], test: Split, device: torch.device, change: Change = lambda x: x
) -> tuple[list[Tensor], Tensor]:
    """Logits (N, C) of each network and the labels (N,), on the CPU; inputs are changed before.

    Raises `NotApplicable` where a network does not answer with finite logits.
    """
    found: list[list[Tensor]] = [[] for _ in networks]
    labels = []
    with torch.inference_mode():
        for inputs, targets in test.batches(BATCH, device):
            changed = change(inputs)
            for kept, network in zip(found, networks, strict=True):
                kept.append(_logits(network(changed)))
            labels.append(targets.cpu())
    return [torch.cat(each) for each in found], torch.cat(labels)


def _logits(outputs: object) -> Tensor:
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise NotApplicable("it reads logits (N, classes)")
    logits = outputs.double().cpu()
    if not bool(logits.isfinite().all()):
        raise NotApplicable("the logits are not finite")
    return logits


def calibration(logits: Tensor, labels: Tensor, bins: int) -> dict[str, float]:
    """`ece` over bins of equal width (a confidence on an edge belongs to the lower one), `nll`, `brier`."""
    logs = logits.log_softmax(1)
    confidence, guess = logs.exp().max(1)
    right = (guess == labels).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64).index_add(0, place, confidence - right)
    truth = nn.functional.one_hot(labels, logits.shape[1]).double()
    return {
        "ece": float(gaps.abs().sum()) / len(labels),
        "nll": -float(logs.gather(1, labels[:, None]).mean()),
        "brier": float((logs.exp() - truth).square().sum(1).mean()),
    }


def class_accuracies(logits: Tensor, labels: Tensor) -> Tensor:
    """(C,): NaN for a class without samples."""
    right = (logits.argmax(1) == labels).double()
    counts = labels.bincount(minlength=logits.shape[1]).double()
    return torch.zeros_like(counts).index_add(0, labels, right) / counts


def class_drops(logits: Tensor, dense: Tensor, labels: Tensor) -> dict[str, float]:
    """Of classes with samples; of equal ones the first."""
    own, before = class_accuracies(logits, labels), class_accuracies(dense, labels)
    present = own.isfinite()
    drops = (before - own)[present]
    names = torch.arange(len(own))[present]
    return {
        "largest_drop": float(drops.max()),
        "largest_drop_class": float(names[drops.argmax()]),
        "drop_deviation": float(drops.std(correction=0)),
        "worst_class_accuracy": float(own[present].min()),
        "worst_class": float(names[own[present].argmin()]),
        "dense_worst_class_accuracy": float(before[present].min()),
    }


def divergence(logits: Tensor, dense: Tensor) -> float:
    """Mean KL(dense‖pruned), at least 0."""
    p, q = dense.log_softmax(1), logits.log_softmax(1)
    return max(0.0, float((p.exp() * (p - q)).sum(1).mean()))
