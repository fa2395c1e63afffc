"""The bundled objectives against numbers worked out by other means."""

from __future__ import annotations

import math

import pytest
import torch
from prunebench import InvalidOutput, Splits, TensorSplit
from prunebench.measure.scores import evaluate
from prunebench.store.sample_values import difference
from prunebench.testing import check_objective
from prunebench_objectives import Classification, LanguageModelling, Regression
from torch import nn


@pytest.mark.parametrize("cls", [Classification, LanguageModelling, Regression])
def test_the_kit_finds_nothing(cls):
    assert check_objective(cls) == []


class Fixed(nn.Module):
    """Answers with the rows of a table that its inputs name."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, rows):
        return self.table[rows]


def test_perplexity_is_that_of_all_scored_tokens():
    logits = torch.randn(40, 6, 11, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(240).view(40, 6) % 11
    targets[:, 0] = -100
    found = evaluate(Fixed(logits), TensorSplit(torch.arange(40), targets), LanguageModelling(), "cpu")
    chances = logits.double().softmax(-1)
    wanted = [-math.log(chances[i, j, targets[i, j]]) for i in range(40) for j in range(1, 6)]
    assert found.score == pytest.approx(math.exp(sum(wanted) / 200), rel=1e-6)
    assert found.numbers["token_count"] == 200


def test_r2_is_scikit_learns():
    from sklearn.metrics import r2_score

    targets = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)) * 100 + 1e4
    outputs = targets + torch.randn(50, 3, generator=torch.Generator().manual_seed(2)) * 40
    found = evaluate(Fixed(outputs), TensorSplit(torch.arange(50), targets), Regression(), "cpu")
    assert found.score == pytest.approx(r2_score(targets, outputs), abs=1e-6)


@pytest.mark.parametrize(
    ("objective", "outputs", "targets", "reason"),
    [
        (Regression(), torch.zeros(4, 3), torch.arange(4.0), r"outputs must have shape \(4, 1\)"),
        (Regression(), torch.zeros(4, 1), torch.arange(4), "needs float targets"),
        (Regression(), torch.full((4, 1), math.nan), torch.arange(4.0), "4 of 4 outputs hold NaN"),
        (Regression(), torch.zeros(4, 1), torch.ones(4), "do not vary"),
        (LanguageModelling(), torch.zeros(4, 5), torch.zeros(4, 5, dtype=torch.int64), "logits must have shape"),
        (LanguageModelling(), torch.zeros(4, 5, 3), torch.full((4, 5), 3), "a target is 3"),
        (LanguageModelling(), torch.zeros(4, 5, 3), torch.full((4, 5), -100), "no token of the split is scored"),
        (Classification(), torch.zeros(4, 3), torch.full((4,), 3), "a label is 3"),
        (Classification(), torch.zeros(4, 3), torch.zeros(4), "one int64 label"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_line(objective, outputs, targets, reason):
    with pytest.raises(InvalidOutput, match=reason):
        evaluate(Fixed(outputs), TensorSplit(torch.arange(4), targets), objective, "cpu")


def test_floors_are_what_a_constant_answer_scores():
    part = TensorSplit(torch.zeros(4, 1), torch.tensor([0, 0, 0, 1]))
    splits = Splits(part, part, part, class_count=2, fingerprint="x")
    assert Classification().floors(splits) == {"chance": 0.5, "majority": 0.75}


def test_a_value_pair_without_weights_is_the_paired_t_of_scipy():
    from scipy.stats import ttest_rel

    dense = torch.rand(30, generator=torch.Generator().manual_seed(3)).tolist()
    pruned = [value + 0.1 * (i % 3) for i, value in enumerate(dense)]
    count, mean, error = difference(dense, None, pruned, None)
    assert count == 30 and mean / error == pytest.approx(ttest_rel(pruned, dense).statistic)


def test_samples_of_several_inputs_are_called_by_keyword():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def forward(self, a, b):
            return (a + b) * self.w

    inputs = {"a": torch.arange(6.0), "b": torch.ones(6)}
    found = evaluate(Sum(), TensorSplit(inputs, torch.arange(6.0) + 1), Regression(), "cpu")
    assert found.score == 1.0
