"""What a network gets right on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunebench.measure.latency.faults import InvalidOutput
from prunebench.measure.statistics import pack_bits
from prunebench.measure.weights import require_unchanged, snapshot
from prunebench.splits import Split

__all__ = ["InvalidOutput", "Scores", "evaluate"]

BATCH = 256


@dataclass(frozen=True)
class Scores:
    """Accuracies are fractions in [0, 1]; `correct` is a bitmap as in `records.Measurement`."""

    test_count: int
    top1_accuracy: float
    top5_accuracy: float | None  # with more than five classes
    loss: float  # mean cross-entropy
    correct: str
    finite: bool = True  # always: what is not finite raises


@dataclass(frozen=True)
class _Batch:
    top1: Tensor  # (B,) bool
    top5: Tensor  # (B,) bool, empty with five classes or fewer
    loss: Tensor  # (), summed, float64
    finite: Tensor  # (B,) bool


def evaluate(
    network: nn.Module,
    split: Split,
    device: torch.device | str,
    *,
    limit: int = 0,
    breathe: Callable[[], None] = lambda: None,
) -> Scores:
    """Scores of `network` on the first `limit` samples (0: all); `breathe` is called between batches.

    Raises `InvalidOutput` where the output is no (B, classes) tensor of finite logits, or the forward pass changes the
    network's own weights.
    """
    if not len(split):
        raise InvalidOutput("there is no test sample to score: the split is empty")
    before = snapshot(network)
    with evaluating(network), torch.inference_mode():
        batches = list(_score_batches(network, split, device, limit or len(split), breathe))
    require_unchanged(network, before)
    return _scores(batches)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every module's own mode restored after."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _score_batches(
    network: nn.Module, split: Split, device: torch.device | str, limit: int, breathe: Callable[[], None]
) -> Iterator[_Batch]:
    left = limit
    for images, labels in split.batches(BATCH, device):
        breathe()
        images, labels = images[:left], labels[:left]
        yield _score(_checked(network(images), labels), labels)
        left -= len(labels)
        if left <= 0:
            return


def _checked(logits: Tensor, labels: Tensor) -> Tensor:
    if not isinstance(logits, Tensor):
        raise InvalidOutput(f"the network must return a tensor of logits, got {type(logits).__name__}")
    if logits.ndim != 2 or len(logits) != len(labels):
        raise InvalidOutput(f"logits must have shape ({len(labels)}, classes), got {tuple(logits.shape)}")
    if int(labels.max()) >= logits.shape[1]:
        raise InvalidOutput(f"the network has {logits.shape[1]} outputs, but a label is {int(labels.max())}")
    return logits.float()


def _score(logits: Tensor, labels: Tensor) -> _Batch:
    place = _place(logits, labels)
    top5 = place < 5 if logits.shape[1] > 5 else place.new_empty(0, dtype=torch.bool)
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum").double()
    return _Batch(place == 0, top5, loss, logits.isfinite().all(1))


def _place(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,): the label's place among the classes, from 0; of equal logits the lower class comes first.

    `topk` leaves open which of equal logits it takes: a network that says the same of every class would have a top-5
    accuracy that depends on the device, and could be right in the first place and not in the first five.
    """
    own = logits.gather(1, labels[:, None])  # (B, 1)
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]  # (B, C)
    return ((logits > own) | ((logits == own) & before)).sum(1)


def _scores(batches: list[_Batch]) -> Scores:
    finite = torch.cat([batch.finite for batch in batches])
    count = len(finite)
    if not finite.all():
        bad = (~finite).nonzero().flatten().cpu()
        raise InvalidOutput(f"{len(bad)} of {count} outputs hold NaN or infinity, first for test sample {int(bad[0])}")
    correct = torch.cat([batch.top1 for batch in batches]).cpu()
    top5 = torch.cat([batch.top5 for batch in batches])
    loss = float(torch.stack([batch.loss for batch in batches]).sum())
    top5_accuracy = int(top5.sum()) / count if len(top5) else None
    return Scores(count, int(correct.sum()) / count, top5_accuracy, loss / count, pack_bits(correct.numpy()))
