"""Layers that factorizing slows stay dense, by measurement."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_task import FakeTask, fake_task, mac_count, pruned
from prunebench import Method, NotApplicable
from prunebench_methods.decompositions.spatial_svd import SpatialSvd
from prunebench_methods.low_rank.column_select import ColumnSelect
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.levin import PrincipalComponentsPruning
from prunebench_methods.low_rank.low_rank import LowRank
from prunebench_methods.low_rank.pca import ActivationPca
from prunebench_methods.shared import gain as gain_module
from prunebench_methods.shared.gain import gain, layer_input
from torch import nn

GAINS = r"factors are 0\.\d+x as fast at batch 2, not 1x"
LOOKING: list[Method] = [
    DataAwareLowRank(rank=3, round_to=1, skip_last=False, even_if_larger=True),
    DataAwareLowRank(rank=3, round_to=1, skip_last=False, even_if_larger=True, asymmetric=False),
    ActivationPca(rank=3, even_if_larger=True),
    ActivationPca(variance=0.9, even_if_larger=True),
    PrincipalComponentsPruning(rank=3, even_if_larger=True),
    PrincipalComponentsPruning(tolerance=1.0, even_if_larger=True),
    ColumnSelect(columns=3),
]


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


@pytest.mark.parametrize("method", LOOKING, ids=str)
def test_methods_that_look_at_data_leave_what_they_slow(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    task = fake_task(nn.Sequential(nn.Flatten(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 8)), (3, 2, 2), count=16)
    gains = {10: 2.0, 8: 0.5}  # by the layer's outputs
    monkeypatch.setattr(gain_module, "gain", lambda layer, factors, x: gains[layer.out_features])
    free, limited = pruned(method, task), pruned(replace(method, min_gain=1.0, gain_batch=2), task)
    for name, value in free[1].state_dict().items():
        torch.testing.assert_close(limited[1].state_dict()[name], value, rtol=0, atol=0)
    assert type(limited[1]) is type(free[1]) is not nn.Linear and type(free[3]) is not nn.Linear
    assert torch.equal(limited[3].weight, task.network[3].weight)
    assert task.left_alone() == {"3": "factors are 0.5x as fast at batch 2, not 1x"}
    gains[10] = 0.5
    with pytest.raises(NotApplicable, match=r"factors are 0\.5x as fast"):
        pruned(replace(method, min_gain=1.0), task)


@pytest.mark.parametrize("method", LOOKING, ids=str)
def test_times_leave_no_closed_form_to_methods_that_look_at_data(method: Method) -> None:
    shapes = fake_task(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), (3, 2, 2), count=10).shapes
    limited = replace(method, min_gain=1.0)
    assert limited.counts(shapes) is None and limited.measures and not method.measures
