"""The metric of a layer's responses: against its closed form, through in-place changes, and what it gains."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from fake_task import PLAIN, FakeTask, digits_task, fake_task, pruned, small_cnn
from prunebench import NotApplicable
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.shared.importance import ALIKE, DAMPING, Importance, importances
from torch import Tensor, nn
from torch.nn import functional


def as_matrix(importance: Importance) -> Tensor:
    assert importance.directions is not None
    return importance.times(torch.eye(len(importance.directions), dtype=torch.float64), 1.0)


def divergence(dense: nn.Module, other: nn.Module, images: Tensor) -> float:
    with torch.no_grad():
        wanted, found = (network(images).double().log_softmax(1) for network in (dense, other))
    return float(functional.kl_div(found, wanted, log_target=True, reduction="batchmean"))


def test_the_importance_of_outputs_is_the_covariance_of_their_choice() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    task = fake_task(network, (1, 1, 6), classes=4, count=4096, calibration_count=4096)
    chances = network(task.calibration).double().softmax(1).detach()
    exact = torch.diag(chances.mean(0)) - chances.T @ chances / len(chances)
    exact += DAMPING * exact.trace() / 4 * torch.eye(4)
    torch.testing.assert_close(as_matrix(importances(network, task, ["1"])["1"]), exact, rtol=0.1, atol=0.01)


@pytest.mark.parametrize("samples", [20, 200])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_no_rank_r_layer_errs_less_where_it_matters(samples: int, asymmetric: bool) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(30, 25), nn.Tanh(), nn.Linear(25, 5))
    task = fake_task(network, (1, 1, 30), classes=5, calibration_count=samples)
    rank = 3
    result = pruned(DataAwareLowRank(rank=rank, asymmetric=asymmetric, round_to=1), task)
    metric = importances(network, task, ["1"])["1"]
    wanted = network[:2](task.calibration).double().detach()
    missed = metric.times((result[:2](task.calibration).double().detach() - wanted).T, 0.5)
    best = torch.linalg.svdvals(metric.times((wanted - wanted.mean(0)).T, 0.5))[rank:].norm()
    torch.testing.assert_close(missed.norm(), best, rtol=1e-3, atol=1e-6)


def test_powers_of_an_importance_are_those_of_its_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(6, 2, generator=generator, dtype=torch.float64))[0]
    metric = Importance(directions, torch.tensor([3.0, 1.0], dtype=torch.float64), 0.5)
    matrix = directions @ torch.diag(torch.tensor([3.0, 1.0]).double()) @ directions.T + 0.5 * torch.eye(6)
    columns = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(metric.times(columns, 1.0), matrix @ columns)
    torch.testing.assert_close(metric.times(metric.times(columns, 0.5), 0.5), matrix @ columns)
    torch.testing.assert_close(metric.times(metric.times(columns, 0.5), -0.5), columns)
    assert ALIKE.times(columns, 0.5) is columns


def test_activations_in_place_and_frozen_weights_change_nothing() -> None:
    network = small_cnn()
    task = fake_task(network, (3, 12, 12), count=32)
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    plain = importances(network, task, names)
    other = copy.deepcopy(network).requires_grad_(False)
    for module in other.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    again = importances(other, fake_task(other, (3, 12, 12), count=32), names)
    for name in names:
        torch.testing.assert_close(as_matrix(again[name]), as_matrix(plain[name]))


def test_a_layer_behind_which_no_gradient_flows_has_its_responses_alike() -> None:
    class Sign(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().sign()

    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), Sign(), nn.Linear(8, 4))
    task = fake_task(network, (1, 1, 6), classes=4)
    found = importances(network, task, ["1", "3"])
    assert found["1"] is ALIKE
    pruned(DataAwareLowRank(rank=2, **PLAIN), task)


@pytest.mark.parametrize("settings", [{"rank": 5}, {"theoretical_speedup": 2.5, "allocation": "global"}], ids=repr)
def test_outputs_stay_nearer_when_errors_count_by_what_they_move(trained: FakeTask, settings: dict[str, Any]) -> None:
    far, near = (
        divergence(
            trained.network,
            pruned(DataAwareLowRank(**settings, importance=importance, round_to=1), trained),
            trained.validation.images,
        )
        for importance in ("alike", "outputs")
    )
    assert near < 0.9 * far


def test_the_draws_are_those_of_the_trials_seed(trained: FakeTask) -> None:
    first, again = (pruned(DataAwareLowRank(rank=4, round_to=1), trained).state_dict() for _ in range(2))
    fresh = digits_task(trained.network)
    anew = pruned(DataAwareLowRank(rank=4, round_to=1), fresh).state_dict()
    for name, value in first.items():
        assert torch.equal(value, again[name]) and torch.equal(value, anew[name])


def test_answers_that_are_no_tensor_are_declined_in_one_line() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 4)

        def forward(self, x: Tensor) -> Any:
            return {"logits": self.last(self.first(x.flatten(1)).relu())}

    with pytest.raises(NotApplicable, match="the network answers with a dict, not with a tensor of outputs"):
        importances(Named(), fake_task(nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), (1, 1, 6), classes=4), ["first"])
