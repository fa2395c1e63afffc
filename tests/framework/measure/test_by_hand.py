"""Scores, tests and intervals against numbers that were worked out by hand, in the comments."""

from __future__ import annotations

import math

import pytest
import torch
from prunebench import TensorSplit
from prunebench.measure.scores import Scores, evaluate
from prunebench.measure.statistics import drop_interval, drop_verdict, mcnemar_p, unpack_bits
from torch import nn
from toys import CLASSIFICATION

LN = [math.log(k) for k in range(1, 7)]  # logits whose softmax is k / 21: 1 + 2 + 3 + 4 + 5 + 6 = 21
FLAT = [0.0] * 6

# logits of six classes, label, place of the label from 1, loss. Of equal logits the lower class comes first.
SAMPLES = [
    ([2.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0, 1, 0.5168135),  # ln(e² + 5) - 2 = ln 12.3890561 - 2 = 2.5168135 - 2
    (LN, 5, 1, 1.2527630),  # -ln(6 / 21) = ln 3.5
    (LN, 1, 5, 2.3513753),  # -ln(2 / 21) = ln 10.5: the fifth of six is among the five
    (LN, 0, 6, 3.0445224),  # -ln(1 / 21) = ln 21: the sixth is not
    (FLAT, 0, 1, 1.7917595),  # ln 6, whichever the label: all are equal, class 0 comes first
    (FLAT, 4, 5, 1.7917595),  # class 4 is the fifth
    (FLAT, 5, 6, 1.7917595),  # class 5 the sixth
    # e⁵ + e⁴ + e³ + e² + 2e = 148.4131591 + 54.5981500 + 20.0855369 + 7.3890561 + 5.4365637 = 235.9224658,
    # its logarithm 5.4635032: the two last are equal, so that the lower is the fifth and the other the sixth
    ([5.0, 4.0, 3.0, 2.0, 1.0, 1.0], 4, 5, 4.4635032),
    ([5.0, 4.0, 3.0, 2.0, 1.0, 1.0], 5, 6, 4.4635032),
    ([5.0, 4.0, 3.0, 2.0, 1.0, 1.0], 1, 2, 1.4635032),
]


def scored(samples: list[tuple[list[float], int]]) -> Scores:
    images = torch.tensor([logits for logits, _ in samples])[:, None, None, :]
    return evaluate(
        nn.Flatten(), TensorSplit(images, torch.tensor([label for _, label in samples])), CLASSIFICATION, "cpu"
    )


@pytest.mark.parametrize(("logits", "label", "place", "loss"), SAMPLES)
def test_a_sample_is_scored_by_the_place_of_its_label(logits: list[float], label: int, place: int, loss: float) -> None:
    found = scored([(logits, label)])
    assert (found.top1_accuracy, found.top5_accuracy) == (place == 1, place <= 5)
    assert found.loss == pytest.approx(loss, abs=1e-6)


def test_ten_samples_are_the_mean_of_their_scores() -> None:
    found = scored([(logits, label) for logits, label, *_ in SAMPLES])
    assert found.test_count == 10
    assert found.top1_accuracy == 0.3  # places 1, 1, 5, 6, 1, 5, 6, 5, 6, 2
    assert found.top5_accuracy == 0.7
    # 0.5168135 + 1.2527630 + 2.3513753 + 3.0445224 + 3 x 1.7917595 + 2 x 4.4635032 + 1.4635032 = 22.9312623
    assert found.loss == pytest.approx(2.29312623, abs=1e-6)
    assert unpack_bits(found.correct, 10).tolist() == [place == 1 for _, _, place, _ in SAMPLES]


def test_five_classes_have_no_top5_and_their_loss_is_exact_too() -> None:
    found = scored([([0.0] * 5, 0), ([0.0] * 5, 1)])
    assert (found.top1_accuracy, found.top5_accuracy) == (0.5, None)
    assert found.loss == pytest.approx(1.6094379, abs=1e-6)  # ln 5


@pytest.mark.parametrize("classes", [6, 7, 10, 26, 100, 1000])
def test_equal_outputs_for_all_classes_are_ranked_by_class_order(classes: int) -> None:
    found = scored([([0.0] * classes, label) for label in range(classes)])
    assert (found.top1_accuracy, found.top5_accuracy) == (1 / classes, 5 / classes)


def test_mcnemar_by_hand() -> None:
    # of six samples one network alone gets five right and the other alone one: of six tosses of a coin at most one
    # head comes with (1 + 6) / 64, both ways 14 / 64
    assert mcnemar_p(5, 1) == mcnemar_p(1, 5) == pytest.approx(14 / 64)


def test_the_interval_of_the_drop_by_hand() -> None:
    # 98 samples, 9 lost and 1 won: with half a sample in each of four counts 8 / 100 = 0.08 is the middle, the
    # variance is (10 + 1 - 64 / 100) / 100^2 = 0.001036, so the half-width is 1.96 * 0.032187 = 0.063086
    found = drop_interval(9, 1, 98)
    assert found.value == pytest.approx(8 / 98)
    assert (found.low, found.high) == pytest.approx((0.08 - 0.063086, 0.08 + 0.063086), abs=1e-5)
    assert (drop_verdict(9, 1, 98), drop_verdict(1, 9, 98), drop_verdict(5, 4, 98)) == ("worse", "better", "can't tell")
