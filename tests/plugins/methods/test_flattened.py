"""Flattened convolutions: the nearest to given filters, and trained from scratch."""

from __future__ import annotations

import pytest
import torch
from fake_task import FakeTask, accuracy, assert_counts_hold, digits_task, fake_task, pruned
from prunebench import NotApplicable
from prunebench_methods.channels.interpolative import InterpolativeChannels
from prunebench_methods.decompositions.flattened import Flattened
from torch import nn

DECOMPOSED = {"from_scratch": False, "stages": 1}


def rank_one_layer() -> FakeTask:
    generator = torch.Generator().manual_seed(0)
    parts = (torch.randn(6, n, generator=generator) for n in (4, 3, 5))
    layer = nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    layer.weight.data = torch.einsum("fc,fy,fx->fcyx", *parts)
    return fake_task(nn.Sequential(layer), (4, 9, 14), count=8)


def test_filters_of_rank_one_are_computed_exactly() -> None:
    task = rank_one_layer()
    method = Flattened(**DECOMPOSED)
    network = pruned(method, task)
    assert_counts_hold(method, task, network)
    with torch.no_grad():
        torch.testing.assert_close(network(task.calibration), task.network(task.calibration), rtol=1e-4, atol=1e-4)


def test_the_nearest_product_is_no_further_than_any_single_slice() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 7, 3)
    task = fake_task(nn.Sequential(layer), (5, 6, 6), count=4)
    pruned(Flattened(**DECOMPOSED), task)
    kernel = layer.weight.detach()
    best_slices = torch.linalg.svdvals(kernel)[..., 0].square().amax(dim=1).sum()
    assert task.facts["0"]["weight_error"] < float((1 - best_slices / kernel.square().sum()).sqrt())


def test_a_filter_of_zeros_stays_one() -> None:
    task = rank_one_layer()
    task.network[0].weight.data[2] = 0
    network = pruned(Flattened(**DECOMPOSED), task)
    with torch.no_grad():
        torch.testing.assert_close(network(task.calibration), task.network(task.calibration), rtol=1e-4, atol=1e-4)


def digits_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 16, 10)),
    )


@pytest.mark.parametrize("stages", [1, 2])
def test_from_scratch_the_counts_hold_and_the_network_learns(stages: int) -> None:
    task = digits_task(digits_net())
    task.train_recipe = lambda: {"epochs": 6, "lr": 5e-3}  # type: ignore[method-assign]
    method = Flattened(stages=stages)
    network = pruned(method, task)
    assert_counts_hold(method, task, network)
    assert network.state_dict()["4.0.weight"].shape == (24, 12, 1, 1)
    assert accuracy(network, task) > 0.8


def test_from_scratch_nothing_of_the_trained_weights_is_left() -> None:
    task = digits_task(digits_net())
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.fill_(torch.nan)
    first, second = (pruned(Flattened(), task_of_seed(task, seed)) for seed in (0, 0))
    assert all(torch.isfinite(value).all() for value in first.state_dict().values())
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def task_of_seed(task: FakeTask, seed: int) -> FakeTask:
    made = FakeTask(task.network, task.train, task.validation, seed=seed)
    made.initial = task.initial
    made.train_recipe = lambda: {"max_steps": 2}  # type: ignore[method-assign]
    return made


def test_a_network_that_no_longer_has_its_first_layers_is_declined() -> None:
    task = digits_task(digits_net())
    narrowed = pruned(InterpolativeChannels(keep=0.5), task)
    with pytest.raises(NotApplicable, match="no longer has the layers that it was initialised with"):
        Flattened().prune(narrowed, task)


def test_what_saves_nothing_is_declined_and_a_decomposition_has_one_stage() -> None:
    with pytest.raises(NotApplicable, match="30 weights in 2 stages save nothing on 18"):
        pruned(Flattened(), fake_task(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 6, 6)))
    with pytest.raises(ValueError, match="stages must be 1 unless from_scratch, got 2"):
        Flattened(from_scratch=False).check()
