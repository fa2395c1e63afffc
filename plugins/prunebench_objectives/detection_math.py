"""Matching boxes with objects: to train, at the least cost; to score, the surest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from prunebench import InvalidOutput
from torch import Tensor, nn

DISTANCE = 5.0  # what a box's distance weighs beside its class, as in Carion et al. (2020)
MOST = 100  # detections of an image that are scored, as in COCO
OVERLAP = 0.5
NONE = -1  # label of a place without an object


def loss(outputs: Any, targets: Any) -> Tensor:
    """Mean over the objects of the batch, differentiable."""
    boxes, logits, truth, labels = _fitting(outputs, targets)
    image, candidate, place = _matched(boxes.detach(), logits.detach(), truth, labels)
    wanted = torch.zeros_like(logits)
    wanted[image, candidate, labels[image, place]] = 1
    classes = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    distance = (boxes[image, candidate] - truth[image, place]).abs().sum()
    return (classes + DISTANCE * distance) / max(1, len(image))


def _matched(boxes: Tensor, logits: Tensor, truth: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, candidate and place of every object: one to one, at the least cost of the whole image."""
    from scipy.optimize import linear_sum_assignment

    likely = logits.sigmoid().gather(2, labels.clamp_min(0)[:, None].expand(-1, logits.shape[1], -1))  # (B, N, M)
    cost = DISTANCE * torch.cdist(boxes.float(), truth.float(), p=1) - likely.float()
    costs = cost.nan_to_num(1e6, 1e6, -1e6).cpu().numpy()
    found: list[tuple[int, int, int]] = []
    for image, own in enumerate(labels.cpu().numpy()):
        places = np.flatnonzero(own != NONE)
        candidates, order = linear_sum_assignment(costs[image][:, places])
        found += [(image, int(c), int(places[o])) for c, o in zip(candidates, order, strict=True)]
    columns = torch.tensor(found, dtype=torch.long, device=labels.device).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]


def judged(outputs: Any, targets: Any) -> dict[str, Tensor]:
    """The K surest pairs of candidate and class: `sure` (B, K), `kind` (B, K), `box` (B, K, 4); and the objects."""
    boxes, logits, truth, labels = _fitting(outputs, targets)
    count, classes = len(logits), logits.shape[2]
    sure, order = logits.float().sigmoid().flatten(1).sort(dim=1, descending=True, stable=True)
    order = order[:, :MOST]
    box = boxes.float().gather(1, (order // classes)[:, :, None].expand(-1, -1, 4))
    finite = boxes.reshape(count, -1).isfinite().all(1) & logits.reshape(count, -1).isfinite().all(1)
    return {
        "sure": sure[:, :MOST], "kind": order % classes, "box": box, "true_box": truth, "true_kind": labels,
        "finite": finite,
    }  # fmt: skip


def _fitting(outputs: Any, targets: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    boxes, logits = _parts(outputs, ("boxes", "logits"), "the network must return")
    truth, labels = _parts(targets, ("boxes", "labels"), "detection needs targets")
    if truth.ndim != 3 or truth.shape[2] != 4 or labels.shape != truth.shape[:2] or labels.dtype != torch.int64:
        seen = f"boxes {tuple(truth.shape)} and {labels.dtype} labels {tuple(labels.shape)}"
        raise InvalidOutput(f"detection needs boxes (B, M, 4) and int64 labels (B, M), got {seen}")
    if boxes.ndim != 3 or boxes.shape[2] != 4 or logits.ndim != 3 or logits.shape[:2] != boxes.shape[:2]:
        seen = f"boxes {tuple(boxes.shape)} and logits {tuple(logits.shape)}"
        raise InvalidOutput(f"the network must return boxes (B, N, 4) and logits (B, N, classes), got {seen}")
    if len(boxes) != len(truth):
        raise InvalidOutput(f"the network must answer {len(truth)} images, got {len(boxes)}")
    if boxes.shape[1] < truth.shape[1]:
        raise InvalidOutput(f"{boxes.shape[1]} candidates are fewer than the {truth.shape[1]} objects of an image")
    low, high = int(labels.min()), int(labels.max())
    if low < NONE or high >= logits.shape[2]:
        raise InvalidOutput(f"the network knows {logits.shape[2]} classes, but labels are from {low} to {high}")
    return boxes, logits, truth, labels


def _parts(tree: Any, names: tuple[str, str], who: str) -> tuple[Tensor, Tensor]:
    found = tuple(tree.get(name) if isinstance(tree, Mapping) else None for name in names)
    if not all(isinstance(part, Tensor) for part in found):
        raise InvalidOutput(f"{who} {{'{names[0]}': …, '{names[1]}': …}}, got {type(tree).__name__}")
    return found  # type: ignore[return-value]


def scores(judged: Mapping[str, Tensor]) -> dict[str, float]:
    """The numbers of a split; raises `InvalidOutput` where it holds no object."""
    arrays = {name: value.double().numpy() for name, value in judged.items()}
    kinds = sorted(set(arrays["true_kind"].ravel()) - {NONE})
    if not kinds:
        raise InvalidOutput("no image of the split has an object: there is no precision")
    told = [_of_kind(arrays, kind) for kind in kinds]
    count = sum(total for _, _, total in told)
    precision = sum(average_precision(sure, right, total) for sure, right, total in told) / len(told)
    return {"mean_average_precision": precision, "recall": float(sum(right.sum() for _, right, _ in told) / count)}


def _of_kind(arrays: Mapping[str, np.ndarray], kind: float) -> tuple[np.ndarray, np.ndarray, int]:
    """How sure each detection of a class is, whether it is right, and how many objects there are."""
    sure, right, total = [], [], 0
    for image in range(len(arrays["sure"])):
        mine = arrays["kind"][image] == kind
        truth = arrays["true_box"][image][arrays["true_kind"][image] == kind]
        total += len(truth)
        sure.append(arrays["sure"][image][mine])
        right.append(_right(overlaps(arrays["box"][image][mine], truth)))
    return np.concatenate(sure), np.concatenate(right), total


def _right(overlap: np.ndarray) -> np.ndarray:
    """(D,) of (D, M), the surest detection first: whether it finds an object that none before it has found."""
    left, right = overlap.copy(), np.zeros(len(overlap), bool)
    if not overlap.shape[1]:
        return right
    for place in range(len(left)):
        best = int(left[place].argmax())
        if left[place, best] >= OVERLAP:
            right[place] = True
            left[:, best] = -1
    return right


def overlaps(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union, (D, M) of (D, 4) and (M, 4); 0 of a box without an area."""
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(part[:, 2:] - part[:, :2], 0, None).prod(1) for part in (boxes, truth)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


def average_precision(sure: np.ndarray, right: np.ndarray, total: int) -> float:
    """Precision times gain of recall, summed over all confidences; equally sure detections count together."""
    order = np.argsort(-sure, kind="stable")
    sure, right = sure[order], right[order]
    last = np.append(np.diff(sure) != 0, True) if len(sure) else np.zeros(0, bool)
    found = right.cumsum()[last]
    precision = found / (np.flatnonzero(last) + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / total)


def example(count: int, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two objects an image of three classes, and six candidates, the first two of them near."""
    corner = torch.rand(count, 2, 2, generator=generator) / 2
    truth = torch.cat([corner, corner + 0.3], 2)
    noise = torch.rand(count, 6, 4, generator=generator)
    boxes = torch.cat([truth + noise[:, :2] / 20, noise[:, 2:]], 1)
    labels = torch.arange(2 * count).view(count, 2) % 3
    return {"boxes": boxes, "logits": torch.randn(count, 6, 3, generator=generator)}, {"boxes": truth, "labels": labels}
