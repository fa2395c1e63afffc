"""Layers that factorizing slows stay dense, by measurement."""

from __future__ import annotations

import pytest
import torch
from fake_task import FakeTask, fake_task, mac_count, pruned
from prunebench import Method, NotApplicable
from prunebench_methods.decompositions.spatial_svd import SpatialSvd
from prunebench_methods.low_rank.low_rank import LowRank
from prunebench_methods.shared.gain import gain, layer_input
from torch import nn

GAINS = r"factors are 0\.\d+x as fast at batch 2, not 1x"


def two_sizes() -> FakeTask:
    """A large linear layer that two thin factors replace with profit, and a small one for which a call is all."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 8))
    return fake_task(network, (1, 32, 32), count=16)


def test_a_smaller_layer_gains_and_a_larger_one_loses() -> None:
    layer = nn.Linear(1024, 1024)
    x = torch.ones(8, 1024)
    thin = nn.Sequential(nn.Linear(1024, 4), nn.Linear(4, 1024))
    thick = nn.Sequential(nn.Linear(1024, 4096), nn.Linear(4096, 1024))
    assert gain(layer, thin, x) > 1.5
    assert gain(layer, thick, x) < 0.7


def test_a_layer_that_factorizing_slows_stays_dense_with_the_reason() -> None:
    task = two_sizes()
    result = pruned(LowRank(rank=7, even_if_larger=True, min_gain=1.0, gain_batch=2), task)
    assert isinstance(result[1], nn.Sequential)
    assert torch.equal(result[3].weight, task.network[3].weight)
    (name, why), *others = task.left_alone().items()
    assert (name, others) == ("3", [])
    assert why.startswith("factors are 0.") and why.endswith("x as fast at batch 2, not 1x")
    assert "rank" not in task.facts["3"]


@pytest.mark.parametrize(
    "method",
    [
        LowRank(rank_ratio=1.0, even_if_larger=True, min_gain=1.0, gain_batch=2),
        SpatialSvd(rank_ratio=1.0, even_if_larger=True, min_gain=1.0, gain_batch=2),
    ],
    ids=lambda method: method.name,
)
def test_a_network_in_which_nothing_gains_is_declined(method: Method) -> None:
    task = fake_task(nn.Sequential(nn.Conv2d(32, 64, 3, padding=1)), (32, 16, 16), count=10)
    with pytest.raises(NotApplicable, match=GAINS):
        pruned(method, task)


@pytest.mark.parametrize("cls", [LowRank, SpatialSvd])
def test_a_layer_that_gains_is_replaced_as_without_the_limit(cls: type[Method]) -> None:
    task = fake_task(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1)), (64, 24, 24), count=10)
    free, limited = pruned(cls(rank=4), task), pruned(cls(rank=4, min_gain=1.0), task)
    assert torch.equal(free(task.example_input), limited(task.example_input))
    assert mac_count(limited, task.example_input) < mac_count(task.network, task.example_input)


def test_measured_times_have_no_closed_form() -> None:
    shapes = fake_task(nn.Sequential(nn.Conv2d(3, 8, 3)), (3, 8, 8), count=10).shapes
    assert LowRank(rank=1, min_gain=1.0).counts(shapes) is None
    assert SpatialSvd(rank=1, min_gain=1.0).counts(shapes) is None
    assert LowRank(rank=1).counts(shapes) is not None


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(3, 8, 3, stride=2), (3, 9, 7)),
        (nn.Conv2d(4, 8, 3, groups=2, padding=1), (4, 6, 6)),
        (nn.Linear(7, 5), (3, 9, 7)),
    ],
    ids=repr,
)
def test_a_layer_is_timed_on_an_input_of_its_own_size(layer: nn.Module, shape: tuple[int, int, int]) -> None:
    task = fake_task(nn.Sequential(layer), shape, count=10)
    assert layer_input(layer, task.shapes[0], 5).numel() == 5 * task.example_input.numel()
    assert layer(layer_input(layer, task.shapes[0], 5)).shape[0] == 5
