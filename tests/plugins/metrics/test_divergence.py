"""KL divergence and first choices, beside numpy and beside what must hold of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from prunebench import NotApplicable, TensorSplit
from prunebench_metrics.divergence_math import divergence
from torch import Tensor, nn

CPU = torch.device("cpu")


class Bigram(nn.Module):
    """Logits of the next token by the last one alone."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


def tables() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(7, 7, generator=generator)
    return dense, dense + 0.5 * torch.randn(7, 7, generator=generator)


def split(ignored: bool = True) -> TensorSplit:
    tokens = torch.randint(7, (40, 33), generator=torch.Generator().manual_seed(1))
    last = torch.full((40, 1), -100) if ignored else tokens[:, :1]
    return TensorSplit(tokens, torch.cat([tokens[:, 1:], last], 1))


def test_divergence_is_that_of_numpy():
    dense, pruned = tables()
    found = divergence(Bigram(pruned), Bigram(dense), split(), CPU)
    rows = split().inputs[:, :-1].flatten().numpy()  # the last token of a window is not scored
    p, q = (np.exp(t.numpy().astype(float)) for t in (dense, pruned))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    assert found["kl"] == pytest.approx((p * np.log(p / q)).sum(1)[rows].mean(), rel=1e-5)
    assert found["same_first"] == pytest.approx((p.argmax(1) == q.argmax(1))[rows].mean())
    assert found["tokens"] == 40 * 32


def test_a_network_does_not_diverge_from_itself():
    dense, _ = tables()
    assert divergence(Bigram(dense), Bigram(dense + 3), split(), CPU) == {"kl": pytest.approx(0, abs=1e-6), "same_first": 1.0, "tokens": 1280}  # fmt: skip  # noqa: E501


def test_targets_with_bytes_are_read_too():
    dense, pruned = tables()
    plain = split()
    told = TensorSplit(plain.inputs, {"tokens": plain.targets, "bytes": torch.ones(40, dtype=torch.long)})
    assert divergence(Bigram(pruned), Bigram(dense), told, CPU) == divergence(Bigram(pruned), Bigram(dense), plain, CPU)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_has_no_divergence(value: float):
    dense, pruned = tables()
    pruned[3, 2] = value
    with pytest.raises(NotApplicable, match="not finite"):
        divergence(Bigram(pruned), Bigram(dense), split(), CPU)


class Counting(Bigram):
    """Knows how many windows it was asked."""

    asked = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.asked += len(tokens)
        return super().forward(tokens)


def test_the_dense_network_is_asked_once_per_test_and_weights(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("prunebench.samples.batch_size", lambda *args: 7)
    dense, pruned = tables()
    asked, first = Counting(dense), divergence(Bigram(pruned), Bigram(dense), split(), CPU)
    assert [divergence(Bigram(pruned), asked, split(), CPU) for _ in range(3)] == [first] * 3
    assert asked.asked == 40
    divergence(Bigram(pruned), asked, split(ignored=False), CPU)
    assert asked.asked == 80
    asked.table.data.mul_(2)
    assert divergence(Bigram(pruned), asked, split(), CPU) == divergence(Bigram(pruned), Bigram(dense), split(), CPU)
    assert asked.asked == 120


@pytest.mark.parametrize("limit", [300, 20_000])  # room for the weights alone, and for some of the answers
def test_answers_that_are_too_many_are_not_kept(limit: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("prunebench_metrics.divergence_math.KEPT_BYTES", limit)
    monkeypatch.setattr("prunebench.samples.batch_size", lambda *args: 7)
    dense, pruned = tables()
    asked, whole = Counting(dense), divergence(Bigram(pruned), Bigram(dense), split(), CPU)
    assert [divergence(Bigram(pruned), asked, split(), CPU) for _ in range(2)] == [whole] * 2
    assert asked.asked == 80
