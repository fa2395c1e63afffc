"""Calibration, classes that pay, and corrupted test sets, against sums of NumPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prunebench import TensorSplit, samples
from prunebench.testing import check_metric
from prunebench_metrics.calibration import Calibration, ClassDrops, Divergence
from prunebench_metrics.corruptions import KINDS, Corruptions
from prunebench_metrics.corruptions_math import NOISE, Corruption
from prunebench_metrics.logits_math import calibration, class_drops, divergence
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss
from torch import nn

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def drawn():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (300,), generator=generator)
    logits = [2 * torch.randn(300, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    for each in logits:
        each[torch.arange(300), labels] += 1.5
    return logits, labels


@pytest.mark.parametrize("metric", [Calibration, ClassDrops, Divergence, Corruptions])
def test_they_pass_the_kit(metric):
    assert check_metric(metric) == []


def test_calibration_is_what_numpy_and_scikit_learn_say(drawn):
    (logits, _), labels = drawn
    found = calibration(logits, labels, 10)
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    assert found["nll"] == pytest.approx(log_loss(labels.numpy(), shares))
    each = [brier_score_loss((labels == c).numpy(), shares[:, c]) for c in range(4)]
    assert found["brier"] == pytest.approx(sum(each))
    confidence, right = shares.max(1), shares.argmax(1) == labels.numpy()
    error = 0.0
    for number in range(10):
        inside = (confidence > number / 10) & (confidence <= (number + 1) / 10)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert found["ece"] == pytest.approx(error)


def test_classes_that_pay_are_those_of_the_confusion_matrices(drawn):
    logits, labels = drawn
    kept = labels != 2  # a class without samples is in no number
    found = class_drops(logits[0][kept], logits[1][kept], labels[kept])
    seen = []
    for each in logits:
        table = confusion_matrix(labels[kept].numpy(), each[kept].argmax(1).numpy(), labels=[0, 1, 2, 3])
        seen.append({c: table[c, c] / table[c].sum() for c in (0, 1, 3)})
    drops = {c: seen[1][c] - seen[0][c] for c in seen[0]}
    worst = max(drops, key=drops.get)
    assert (found["largest_drop"], found["largest_drop_class"]) == (pytest.approx(drops[worst]), worst)
    assert found["worst_class_accuracy"] == pytest.approx(min(seen[0].values()))
    assert found["dense_worst_class_accuracy"] == pytest.approx(min(seen[1].values()))
    assert found["drop_deviation"] == pytest.approx(np.std(list(drops.values())))


def test_the_divergence_is_zero_of_equals_and_the_sum_otherwise(drawn):
    logits, _ = drawn
    p, q = (np.exp(each.numpy()) / np.exp(each.numpy()).sum(1, keepdims=True) for each in (logits[1], logits[0]))
    assert divergence(logits[0], logits[1]) == pytest.approx((p * np.log(p / q)).sum(1).mean())
    assert divergence(logits[0], logits[0]) == 0


def corrupted(x: torch.Tensor, kind: str, seed: int = 0) -> torch.Tensor:
    pixels = samples.PixelRange(torch.full((x.shape[1], 1, 1), -1.0), torch.ones(x.shape[1], 1, 1))
    return Corruption(kind, pixels, seed)(x)


def test_corruptions_do_what_they_are_called():
    x = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    noise = corrupted(x, "noise") - x
    assert float(noise.std()) == pytest.approx(2 * NOISE, rel=0.05) and abs(float(noise.mean())) < 0.01
    assert torch.equal(corrupted(x, "noise"), corrupted(x, "noise"))
    assert not torch.equal(corrupted(x, "noise"), corrupted(x, "noise", 1))
    flat = corrupted(x, "contrast")
    assert torch.allclose(flat.std((1, 2, 3)), 0.3 * x.std((1, 2, 3)), rtol=1e-4)
    assert torch.allclose(flat.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-5)
    blurred = corrupted(x, "blur")
    assert float(blurred.std()) < 0.8 * float(x.std()) and torch.allclose(corrupted(x * 0 + 0.2, "blur"), x * 0 + 0.2)
    smooth = torch.linspace(-0.9, 0.9, 16).expand(2, 1, 16, 16)
    assert 0 < float((corrupted(smooth, "jpeg") - smooth).abs().mean()) < 0.1


def test_accuracy_is_told_by_kind_beside_that_of_the_dense_network():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    x = torch.where(labels == 0, -0.5, 0.5)[:, None, None, None] + 0.1 * torch.randn(64, 1, 8, 8, generator=generator)
    sound = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        sound[1].weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 64))
        sound[1].bias.zero_()
    wrong = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        wrong[1].weight.copy_(-sound[1].weight)
        wrong[1].bias.zero_()
    found = Corruptions().measure(wrong, sound, TensorSplit(x, labels), CPU)
    assert {kind: found[f"dense_{kind}"] for kind in KINDS} == dict.fromkeys(KINDS, 1.0)
    assert found["mean"] == 0 and found["dense_mean"] == 1
