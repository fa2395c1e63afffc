"""column_select: which columns, and how the others are interpolated."""

from __future__ import annotations

import pytest
import torch
from fake_task import accuracy, assert_counts_hold, digits_task, fake_task, pruned, small_cnn, small_fcn
from prunebench import NotApplicable
from prunebench_methods.low_rank.column_select import ColumnSelect
from prunebench_methods.low_rank.column_select_math import interpolated, pivot_order
from torch import nn


def test_the_order_is_that_of_pivoted_cholesky() -> None:
    factor = torch.randn(12, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, expected = factor.clone(), []
    for _ in range(9):
        pivot = int(left.norm(dim=0).argmax())
        expected.append(pivot)
        direction = left[:, pivot] / left[:, pivot].norm()
        left = left - torch.outer(direction, direction @ left)
        left[:, expected] = 0
    assert pivot_order(factor).tolist() == expected


def test_columns_that_repeat_others_come_last() -> None:
    base = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factor = torch.cat((base @ torch.rand(4, 3, generator=torch.Generator().manual_seed(1)).double() * 0.1, base), 1)
    assert set(pivot_order(factor)[:4].tolist()) == {3, 4, 5, 6}
    assert sorted(pivot_order(factor).tolist()) == list(range(7))


def test_inputs_that_depend_on_a_few_are_interpolated_exactly() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(40, 15))
    task = fake_task(network, (1, 5, 8))
    generator = torch.Generator().manual_seed(1)
    few = torch.randn(256, 6, generator=generator)
    task.calibration = (few @ torch.randn(6, 40, generator=generator) + 4.0).reshape(256, 1, 5, 8)
    result = pruned(ColumnSelect(columns=6, ridge=1e-9), task)
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rows", [8, 80])
def test_the_interpolation_is_the_least_squares_solution(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    factor, weight = (torch.randn(n, 30, generator=generator, dtype=torch.float64) for n in (rows, 5))
    kept = torch.arange(0, 30, 3)
    found = interpolated(weight, factor, kept, ridge=1e-10)
    best = torch.linalg.lstsq(factor[:, kept], factor @ weight.T, driver="gelsd").solution
    error = (factor[:, kept] @ found.T - factor @ weight.T).norm()
    torch.testing.assert_close(error, (factor[:, kept] @ best - factor @ weight.T).norm(), rtol=1e-5, atol=1e-5)


def test_channels_of_convolutions_are_selected_with_their_geometry() -> None:
    torch.manual_seed(0)
    spread = nn.Conv2d(3, 12, 1)  # twelve channels that depend on three
    layer = nn.Conv2d(12, 7, 3, stride=2, padding=1, dilation=(1, 2), padding_mode="reflect")
    network = nn.Sequential(spread, layer)
    task = fake_task(network, (3, 9, 8), count=64)
    method = ColumnSelect(columns=3, ridge=1e-9)
    result = pruned(method, task)
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-3, atol=1e-3)
    assert (result[1].layer.stride, result[1].layer.padding_mode) == ((2, 2), "reflect")
    assert_counts_hold(method, task, result)
    assert task.left_alone() == {"0": "all of its 3 input columns are kept"}


@pytest.mark.parametrize(
    "method",
    [ColumnSelect(keep=0.25), ColumnSelect(columns=5), ColumnSelect(keep=0.3, round_to=4, skip_last=True)],
    ids=repr,
)
def test_the_declared_counts_equal_the_counted_ones(method: ColumnSelect) -> None:
    for bias in (True, False):
        network = small_cnn()
        if not bias:
            network[3].bias = network[6].bias = None
        task = fake_task(network, (3, 12, 12), count=64)
        assert_counts_hold(method, task, pruned(method, task))


def test_half_of_the_columns_hold_the_accuracy_of_trained_digits() -> None:
    task = digits_task(small_fcn())
    task.fit(task.network, epochs=12, lr=3e-3)
    assert accuracy(pruned(ColumnSelect(keep=0.5), task), task) > accuracy(task.network, task) - 0.02


def test_a_number_of_columns_that_no_layer_exceeds_is_declined() -> None:
    with pytest.raises(NotApplicable, match="all of its 64 input columns are kept"):
        pruned(ColumnSelect(columns=1000), fake_task(small_fcn(), (1, 8, 8)))


def test_the_order_is_found_once_for_a_sweep() -> None:
    task = fake_task(small_fcn(), (1, 8, 8))
    for keep in (0.2, 0.4):
        pruned(ColumnSelect(keep=keep), task)
    assert len(task.computed) == 4  # the inputs, and an order for each of three layers
