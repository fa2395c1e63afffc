"""The whole-split objective: against scikit-learn, against numbers by hand, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from prunebench import InvalidOutput, TensorSplit
from prunebench.measure.scores import evaluate
from prunebench.testing import check_objective
from prunebench_objectives import Detection
from torch import nn


class Answers(nn.Module):
    """Gives the candidates that its inputs name."""

    def __init__(self, boxes, logits):
        super().__init__()
        self.boxes, self.logits = nn.Parameter(boxes), nn.Parameter(logits)

    def forward(self, rows):
        return {"boxes": self.boxes[rows], "logits": self.logits[rows]}


def scored(boxes, logits, truth, labels):
    split = TensorSplit(torch.arange(len(truth)), {"boxes": truth, "labels": labels})
    return evaluate(Answers(boxes, logits), split, Detection(), "cpu")


def test_the_kit_finds_nothing():
    assert check_objective(Detection) == []


def overlap(a, b):
    wide, high = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return wide * high / (sum(areas) - wide * high)


def expected(boxes, logits, truth, labels):
    """scikit-learn's average precision of each class, by the share of its objects that are found."""
    from sklearn.metrics import average_precision_score

    each = []
    for kind in range(logits.shape[2]):
        hits, sureness, objects = [], [], 0
        for image in range(len(truth)):
            own = [truth[image, m].tolist() for m in range(truth.shape[1]) if labels[image, m] == kind]
            objects += len(own)
            for n in sorted(range(boxes.shape[1]), key=lambda n: -float(logits[image, n, kind])):
                values = [overlap(boxes[image, n].tolist(), box) for box in own]
                best = max(range(len(own)), key=values.__getitem__) if own else None
                hits.append(best is not None and values[best] >= 0.5)
                if hits[-1]:
                    own.pop(best)
                sureness.append(float(logits[image, n, kind]))
        each.append(average_precision_score(hits, sureness) * sum(hits) / objects if any(hits) else 0.0)
    return float(np.mean(each))


@pytest.mark.parametrize("seed", range(4))
def test_the_mean_average_precision_is_scikit_learns(seed):
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(300, 3, 2, generator=draw) * 0.6
    truth = torch.cat([corner, corner + 0.2 + 0.2 * torch.rand(300, 3, 2, generator=draw)], 2)
    labels = torch.randint(-1, 3, (300, 3), generator=draw)
    near = truth + 0.1 * torch.randn(300, 3, 4, generator=draw)
    boxes = torch.cat([near, truth + 0.02, torch.rand(300, 2, 2, generator=draw).repeat(1, 1, 2)], 1)
    boxes[:, 6:, 2:] += 0.3
    logits = torch.randn(300, 8, 3, generator=draw)
    logits[:, :3] += 2 * nn.functional.one_hot(labels.clamp_min(0), 3)
    found = scored(boxes, logits, truth, labels)
    assert found.score == pytest.approx(expected(boxes, logits, truth, labels), abs=1e-6)
    assert (found.correct, found.values) == ("", "")


def test_a_split_small_enough_to_count_by_hand():
    """Sure 0.9 right, 0.8 beside it, 0.7 finds the first again, 0.6 right; of three objects the last is not found."""
    place = torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9], [0.0, 0.8, 0.1, 0.9]])
    boxes = torch.stack([place[0], torch.tensor([0.3, 0.0, 0.5, 0.2]), place[0], place[1]])[None]
    logits = torch.tensor([0.9, 0.8, 0.7, 0.6]).logit()[None, :, None]
    found = scored(boxes, logits, place[None], torch.zeros(1, 3, dtype=torch.int64))
    assert found.score == pytest.approx(1 / 3 * (1 / 1) + 1 / 3 * (2 / 4))
    assert found.numbers["recall"] == pytest.approx(2 / 3)


def test_the_loss_matches_each_object_with_one_candidate():
    truth = torch.tensor([[[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9]]])
    boxes = torch.cat([truth + 0.01, truth[:, :1] + 0.5], 1)
    logits = torch.tensor([[[3.0], [2.0], [-4.0]]])
    targets = {"boxes": truth, "labels": torch.zeros(1, 2, dtype=torch.int64)}
    surprise = math.log1p(math.exp(-3)) + math.log1p(math.exp(-2)) + math.log1p(math.exp(-4))
    assert float(Detection().loss({"boxes": boxes, "logits": logits}, targets)) == pytest.approx(
        (surprise + 5 * 8 * 0.01) / 2
    )


@pytest.mark.parametrize(
    ("outputs", "targets", "reason"),
    [
        ("tensor", {}, "the network must return {'boxes': …, 'logits': …}, got Tensor"),
        ({"boxes": (4, 6, 3)}, {}, r"boxes \(B, N, 4\) and logits \(B, N, classes\), got boxes \(4, 6, 3\)"),
        ({"boxes": (4, 1, 4), "logits": (4, 1, 3)}, {}, "1 candidates are fewer than the 2 objects"),
        ({}, {"labels": 3}, "the network knows 3 classes, but labels are from 3 to 3"),
        ({}, {"labels": -1}, "no image of the split has an object"),
        ({}, {"boxes": (4, 2, 5)}, r"detection needs boxes \(B, M, 4\)"),
        ({"boxes": math.nan}, {}, "4 of 4 outputs hold NaN"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_line(outputs, targets, reason):
    def made(shapes, changes):
        return {
            name: torch.zeros(change) if isinstance(change := changes.get(name, shape), tuple)
            else torch.full(shape, change)
            for name, shape in shapes.items()
        }  # fmt: skip

    wanted = made({"boxes": (4, 2, 4), "labels": (4, 2)}, targets)
    wanted["labels"] = wanted["labels"].long()

    class Says(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def forward(self, rows):
            if outputs == "tensor":
                return self.w.expand(len(rows))
            found = made({"boxes": (4, 6, 4), "logits": (4, 6, 3)}, outputs)
            return {name: value[: len(rows)] for name, value in found.items()}

    with pytest.raises(InvalidOutput, match=reason):
        evaluate(Says(), TensorSplit(torch.arange(4), wanted), Detection(), "cpu")
