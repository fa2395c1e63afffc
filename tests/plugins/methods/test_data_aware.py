"""data_aware_low_rank against the best possible, and its shared budgets."""

from __future__ import annotations

import pytest
import torch
from fake_task import (
    PLAIN,
    FakeTask,
    accuracy,
    assert_counts_hold,
    digits_task,
    fake_task,
    mac_count,
    pruned,
    small_cnn,
    small_fcn,
)
from prunebench import LayerShape, NotApplicable
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.low_rank import LowRank
from prunebench_methods.low_rank.ranks import macs_at, shared_budget
from prunebench_methods.low_rank.responses import Fit, damped_fit
from torch import nn


@pytest.mark.parametrize("samples", [20, 200])
@pytest.mark.parametrize("widths", [(60, 25), (25, 60)])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_no_rank_r_layer_answers_the_calibration_data_better(
    samples: int, widths: tuple[int, int], asymmetric: bool
) -> None:
    inputs, outputs = widths
    network = nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))
    task = fake_task(network, (1, 1, inputs), calibration_count=samples)
    task.calibration += 3.0  # a mean that has to go into the bias
    rank = 4
    result = pruned(DataAwareLowRank(rank=rank, asymmetric=asymmetric, importance="alike", **PLAIN), task)
    wanted = network(task.calibration).detach()
    centred = wanted - wanted.mean(0)
    best = torch.linalg.svdvals(centred)[rank:].norm()
    torch.testing.assert_close((result(task.calibration) - wanted).norm(), best, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(result(task.calibration).mean(0), wanted.mean(0), rtol=1e-3, atol=1e-4)


def test_the_response_of_a_convolution_is_fitted_best_too() -> None:
    layer = nn.Conv2d(6, 12, 3, stride=2, padding=1, dilation=(1, 2))
    network = nn.Sequential(layer)
    task = fake_task(network, (6, 9, 8))
    result = pruned(DataAwareLowRank(rank=3, asymmetric=False, importance="alike", **PLAIN), task)
    wanted = network(task.calibration).transpose(0, 1).flatten(1).T
    found = result(task.calibration).transpose(0, 1).flatten(1).T
    best = torch.linalg.svdvals((wanted - wanted.mean(0)).detach())[3:].norm()
    torch.testing.assert_close((found - wanted).norm(), best, rtol=1e-3, atol=1e-4)


def test_the_damped_fit_recovers_a_weight_and_without_data_keeps_it() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, true = torch.randn(400, 12, generator=generator), torch.randn(5, 12, generator=generator)
    fit, few = Fit(12), Fit(12)
    fit.add(inputs, inputs @ true.T)
    few.add(inputs[:3], inputs[:3] @ true.T)
    old = torch.zeros(5, 12)
    torch.testing.assert_close(damped_fit(fit, old, 1e-9)[0].matrix.float(), true, rtol=1e-4, atol=1e-4)
    solution = damped_fit(few, true, 1e-3)[0].matrix.float()
    torch.testing.assert_close(solution, true, rtol=1e-4, atol=1e-4)


def test_rows_and_moments_lead_to_the_same_fit() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(30, n, generator=generator, dtype=torch.float64) for n in (20, 7))
    old = torch.randn(7, 20, generator=generator, dtype=torch.float64)
    kept, summed = Fit(1000), Fit(20)  # the second sums up from its 21st row on
    for fit in (kept, summed):
        fit.add(inputs[:15], targets[:15])
        fit.add(inputs[15:], targets[15:])
    assert kept.moments is None and summed.moments is not None
    (by_rows, one, mean), (by_moments, other, same) = damped_fit(kept, old, 0.01), damped_fit(summed, old, 0.01)
    torch.testing.assert_close(by_rows.matrix, by_moments.matrix)
    torch.testing.assert_close(by_rows.at(inputs[0]), by_moments.matrix @ inputs[0])
    torch.testing.assert_close(mean, same)
    torch.testing.assert_close(one.variances, other.variances, rtol=0.1, atol=0.0)  # one has the damping in it


def test_data_beats_weights_at_equal_cost(trained: FakeTask) -> None:
    plain = accuracy(pruned(LowRank(rank=5), trained), trained)
    aware = accuracy(pruned(DataAwareLowRank(rank=5, **PLAIN), trained), trained)
    assert aware > plain + 0.1


def test_a_shared_budget_beats_one_rank_for_all(trained: FakeTask) -> None:
    settings = {"theoretical_speedup": 4.0, "round_to": 1}
    trained.facts.clear()
    uniform = pruned(DataAwareLowRank(**settings), trained)
    shared = pruned(DataAwareLowRank(allocation="global", **settings), trained)
    dense = mac_count(trained.network, trained.example_input)
    assert all(dense / mac_count(network, trained.example_input) >= 4.0 for network in (uniform, shared))
    assert accuracy(shared, trained) >= accuracy(uniform, trained)


@pytest.mark.parametrize(
    "settings",
    [
        {"rank": 4, "round_to": 1},
        {"rank": 4, "round_to": 1, "asymmetric": False, "skip_last": False},
        {"rank_ratio": 0.1},
        {"rank_ratio": 0.2, "section": "conv", "round_to": 2},
        {"theoretical_speedup": 3, "round_to": 1},
    ],
    ids=repr,
)
def test_the_declared_counts_equal_the_counted_ones(settings: dict[str, float]) -> None:
    network = small_cnn()
    network[3].bias = None
    task = fake_task(network, (3, 12, 12), count=32)
    method = DataAwareLowRank(**settings)
    assert_counts_hold(method, task, pruned(method, task))


def test_a_speedup_asked_for_is_reached_with_the_largest_ranks() -> None:
    shapes = [
        LayerShape("a", "linear", 500, 400),
        LayerShape("b", "linear", 300, 500),
        LayerShape("c", "linear", 10, 300),
    ]
    method = DataAwareLowRank(theoretical_speedup=5, round_to=1)
    dense = sum(shape.mac_count for shape in shapes)
    macs = sum(count.mac_count for count in method.counts(shapes))
    assert 5.0 <= dense / macs < 5.1
    with pytest.raises(NotApplicable, match="theoretical_speedup 1e\\+04 is out of reach: the smallest ranks give"):
        DataAwareLowRank(theoretical_speedup=10_000).counts(shapes)


def test_a_shared_budget_goes_where_it_explains_most() -> None:
    shapes = [LayerShape("flat", "linear", 64, 64), LayerShape("steep", "linear", 64, 64)]
    spectra = {"flat": [1 / 64] * 64, "steep": [0.75 / 4**i for i in range(64)]}
    ranks = shared_budget(shapes, spectra, budget=2000, round_to=1)
    assert ranks["steep"] is not None and ranks["flat"] is not None and ranks["steep"] < ranks["flat"]
    assert sum(macs_at(shape, ranks[shape.name] or 64) for shape in shapes) <= 2000


def test_the_asymmetric_fit_repairs_what_earlier_layers_lost(trained: FakeTask) -> None:
    errors = []
    for asymmetric in (False, True):
        network = pruned(DataAwareLowRank(rank=4, asymmetric=asymmetric, **PLAIN), trained)
        with torch.no_grad():
            errors.append(float((network(trained.calibration) - trained.network(trained.calibration)).square().mean()))
    assert errors[1] < errors[0]


def test_spectra_and_responses_are_computed_once_for_a_sweep() -> None:
    task = digits_task(small_fcn())
    for rank in (2, 3):
        pruned(DataAwareLowRank(rank=rank, **PLAIN), task)
        pruned(DataAwareLowRank(rank=rank, asymmetric=False, **PLAIN), task)
    assert len(task.computed) == 3  # importances, responses, targets


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("asymmetric", [False, True])
def test_a_layer_without_entries_beside_others_stays_as_it_is(asymmetric: bool) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.empty, self.last = nn.Linear(6, 5), nn.Linear(5, 0), nn.Linear(5, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            code = self.first(x.flatten(1)).relu()
            return self.last(code + self.empty(code).sum(1, keepdim=True))

    network = Beside()
    task = fake_task(network, (1, 1, 6), classes=4)
    method = DataAwareLowRank(rank_ratio=1.0, round_to=1, even_if_larger=True, skip_last=False, asymmetric=asymmetric)
    result = pruned(method, task)
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-3, atol=1e-3)
    assert isinstance(result.empty, nn.Linear) and not isinstance(result.first, nn.Linear)
