"""What logits say about labels."""

from __future__ import annotations

from typing import Any

import torch
from prunebench import InvalidOutput, Splits
from torch import Tensor, nn


def judged(outputs: Any, targets: Any) -> dict[str, Tensor]:
    """`value` (B,): the label comes first; `top5` (B,) with more than five classes; `loss` (): summed, float64."""
    logits = _checked(outputs, targets)
    place = _place(logits, targets)
    found = {
        "value": place == 0,
        "loss": nn.functional.cross_entropy(logits, targets, reduction="sum").double(),
        "finite": logits.isfinite().all(1),
    }
    return found | ({"top5": place < 5} if logits.shape[1] > 5 else {})


def _checked(logits: Any, labels: Any) -> Tensor:
    if not isinstance(logits, Tensor):
        raise InvalidOutput(f"the network must return a tensor of logits, got {type(logits).__name__}")
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.dtype != torch.int64:
        seen = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise InvalidOutput(f"classification needs one int64 label a sample, the data set gives {seen}")
    if logits.ndim != 2 or len(logits) != len(labels):
        raise InvalidOutput(f"logits must have shape ({len(labels)}, classes), got {tuple(logits.shape)}")
    if int(labels.min()) < 0:
        raise InvalidOutput(f"labels must be at least 0, but a label is {int(labels.min())}")
    if int(labels.max()) >= logits.shape[1]:
        raise InvalidOutput(f"the network has {logits.shape[1]} outputs, but a label is {int(labels.max())}")
    return logits.float()


def _place(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,): the label's place among the classes, from 0; of equal logits the lower class comes first.

    `topk` leaves open which of equal logits it takes: a network that says the same of every class would have a top-5
    accuracy that depends on the device, and could be right in the first place and not in the first five.
    """
    own = logits.gather(1, labels[:, None])  # (B, 1)
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]  # (B, C)
    return ((logits > own) | ((logits == own) & before)).sum(1)


def floors(splits: Splits) -> dict[str, float]:
    """`chance`, and `majority` where both splits are held whole."""
    found = {"chance": 1 / splits.class_count} if splits.class_count else {}
    train, test = (getattr(split, "targets", None) for split in (splits.train, splits.test))
    if isinstance(train, Tensor) and isinstance(test, Tensor) and len(train) and len(test):
        most = int(train.bincount().argmax())
        found["majority"] = int((test == most).sum()) / len(test)
    return found
