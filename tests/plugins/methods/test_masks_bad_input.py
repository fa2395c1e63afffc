"""Masks and bad input: what is declined, left alone or refused, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fake_task import FakeTask, assert_counts_hold, fake_task, pruned, small_cnn, small_fcn
from prunebench import Method, NotApplicable
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.masks.random_masks import Random
from prunebench_methods.masks.random_matched import RandomMatched
from torch import Tensor, nn


def task_of(network: nn.Module, shape: tuple[int, int, int] = (3, 12, 12), **options: Any) -> FakeTask:
    return fake_task(network, shape, count=32, **options)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_declined(value: float) -> None:
    network = small_cnn()
    with torch.no_grad():
        network[3].weight[0, 0, 0, 0] = value
    with pytest.raises(NotApplicable, match="'3' holds values that are not finite"):
        pruned(Magnitude(), task_of(network))


def test_a_network_without_layers_of_the_section_is_declined() -> None:
    with pytest.raises(NotApplicable, match="not in section 'conv'"):
        pruned(Magnitude(section="conv"), task_of(small_fcn(), (1, 8, 8)))


def test_other_kinds_of_layers_and_shared_weights_are_left_alone() -> None:
    network = nn.Sequential(
        nn.ConvTranspose2d(3, 4, 2), nn.Flatten(), nn.Linear(4 * 169, 8), nn.Linear(8, 8), nn.Linear(8, 8)
    )
    network[4].weight = network[3].weight
    task = task_of(network)
    masked = pruned(Magnitude(keep=0.1), task)
    assert "ConvTranspose2d" in task.left_alone()["0"] and "shared" in task.left_alone()["3"]
    assert masked[3].weight is masked[4].weight and bool(masked[3].weight.all()) and bool(masked[0].weight.all())


def test_a_layer_that_is_called_twice_is_masked_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Linear(64, 10), nn.Linear(10, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.again(self.again(self.first(x.flatten(1))))

    task = task_of(Twice(), (1, 8, 8))
    network = pruned(Magnitude(keep=0.3), task)
    assert int(network.again.weight.count_nonzero()) == 30
    assert_counts_hold(Magnitude(keep=0.3), task, network)


def test_a_layer_of_no_rows_is_left_alone() -> None:
    task = task_of(small_fcn(), (1, 8, 8))
    empty = task.network[3]
    empty.weight, empty.bias = nn.Parameter(torch.empty(0, 48)), nn.Parameter(torch.empty(0))
    task.shapes = tuple(replace(shape, out_channels=0) if shape.name == "3" else shape for shape in task.shapes)
    network = pruned(Magnitude(keep=0.5), task)
    assert task.left_alone() == {"3": "its weight has no entries"}
    assert int(network[1].weight.count_nonzero()) == 64 * 48 // 2


def test_a_layer_that_loses_everything_is_noted() -> None:
    network = small_fcn()
    with torch.no_grad():
        network[5].weight.mul_(1e-6)
    task = task_of(network, (1, 8, 8))
    pruned(Magnitude(keep=0.01, scope="global"), task)
    assert any(note.startswith("5 lost all its weights") for note in task.notes)


@pytest.mark.parametrize("method", [Magnitude, Random, RandomMatched])
@pytest.mark.parametrize("keep", [0.0, -0.1, 1.5])
def test_a_share_outside_of_zero_to_one_is_refused(method: type[Method], keep: float) -> None:
    from prunebench.errors import PlanError
    from prunebench.plugins.parameters import complete, create

    with pytest.raises(PlanError, match="keep"):
        create(method, complete(method, {"keep": keep}))
