"""pca, activation_pca and principal_components_pruning."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from fake_task import FakeTask, accuracy, assert_counts_hold, digits_task, fake_task, pruned, small_cnn, small_fcn
from prunebench import NotApplicable
from prunebench_methods.low_rank.levin import PrincipalComponentsPruning
from prunebench_methods.low_rank.pca import ActivationPca, WeightPca
from torch import nn


@pytest.fixture(scope="module", params=[nn.ReLU, nn.Identity], ids=["relu", "linear"])
def trained(request: pytest.FixtureRequest) -> FakeTask:
    task = digits_task(small_fcn(request.param))
    task.fit(task.network, epochs=12, lr=3e-3)
    return task


def linear_task(*widths: int) -> FakeTask:
    torch.manual_seed(0)
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    return fake_task(nn.Sequential(nn.Flatten(), *layers), (1, 1, widths[0]))


def test_all_of_the_variance_of_a_shrinking_linear_chain_is_lossless() -> None:
    task = linear_task(30, 20, 12, 10)
    result = pruned(WeightPca(variance=1.0), task)
    torch.testing.assert_close(result(task.calibration), task.network(task.calibration), rtol=1e-4, atol=1e-5)
    assert task.notes == []


def test_weight_pca_is_the_printed_algorithm() -> None:
    task = linear_task(30, 20, 12, 10)
    result = pruned(WeightPca(variance=0.6), task)
    rotation = None
    for index in (1, 2, 3):
        weight, bias = task.network[index].weight.detach().double(), task.network[index].bias.detach().double()
        rotated = weight if rotation is None else weight @ rotation
        if index < 3:
            left, values, _ = torch.linalg.svd(weight - weight.mean(1, keepdim=True), full_matrices=False)
            share = values.square().cumsum(0) / values.square().sum()
            rotation = left[:, : int((share >= 0.6).int().argmax()) + 1]
            rotated, bias = rotation.T @ rotated, rotation.T @ bias
        found = result[index]
        assert found.weight.shape == rotated.shape
        signs = torch.sign(found.bias.double() * bias) if index < 3 else torch.ones(10)
        torch.testing.assert_close(found.bias.double(), signs * bias, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(found.weight.double().norm(dim=1), rotated.norm(dim=1), rtol=1e-3, atol=1e-4)


def test_no_variance_at_all_keeps_one_component() -> None:
    result = pruned(WeightPca(variance=0.0), linear_task(30, 20, 12, 10))
    assert [tuple(layer.weight.shape) for layer in result[1:]] == [(1, 30), (1, 1), (10, 1)]


def test_a_widening_layer_is_noted() -> None:
    task = linear_task(20, 10, 40, 10)
    pruned(WeightPca(variance=1.0), task)
    assert "wider than the one before" in task.notes[0]


def test_weight_pca_destroys_a_network_with_activations_and_says_so(trained: FakeTask) -> None:
    trained.notes.clear()
    found = accuracy(pruned(WeightPca(variance=1.0), trained), trained)
    has_activation = any(isinstance(module, nn.ReLU) for module in trained.network)
    assert (found < 0.6) == has_activation
    assert [note.startswith("invalid") for note in trained.notes] == [True] * has_activation


class Branching(nn.Module):
    """Two linear layers with a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(10, 10), nn.Linear(10, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = images.flatten(1)
        return self.second(self.first(rows)) + rows


@pytest.mark.parametrize(
    ("network", "shape", "why"),
    [
        (small_cnn(), (3, 12, 12), "0 is a convolution"),
        (Branching(), (1, 1, 10), "only calls its modules one after another"),
        (nn.Sequential(nn.Flatten(), nn.Linear(10, 10)), (1, 1, 10), "at least two linear layers"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(10, 10), nn.BatchNorm1d(10), nn.Linear(10, 10)),
            (1, 1, 10),
            "cannot rotate through BatchNorm1d",
        ),
    ],
    ids=["convolutions", "shortcut", "one layer", "norm"],
)
def test_weight_pca_declines_what_is_no_chain_of_linear_layers(
    network: nn.Module, shape: tuple[int, int, int], why: str
) -> None:
    with pytest.raises(NotApplicable, match=why):
        pruned(WeightPca(), fake_task(network, shape))


def test_projecting_activations_works_where_rotating_weights_does_not(trained: FakeTask) -> None:
    method = ActivationPca(rank=16)
    trained.facts.clear()
    result = pruned(method, trained)
    assert_counts_hold(method, trained, result)
    assert accuracy(result, trained) > accuracy(trained.network, trained) - 0.03


@pytest.mark.parametrize("kind", [ActivationPca, PrincipalComponentsPruning])
@pytest.mark.parametrize(
    "settings", [{"rank": 3}, {"rank_ratio": 0.2}, {"rank_ratio": 0.2, "skip_last": True}], ids=repr
)
def test_the_declared_counts_equal_the_counted_ones(kind: type, settings: dict[str, float]) -> None:
    for network, shape in ((small_cnn(), (3, 12, 12)), (small_fcn(), (1, 8, 8)), (strided(), (4, 11, 10))):
        task = fake_task(network, shape)
        method = kind(**settings, section="all")
        assert_counts_hold(method, task, pruned(method, task))


def strided() -> nn.Sequential:
    """Convolutions whose inputs are larger than their outputs, one without a bias."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 16, 3, stride=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(16, 20, 3, padding=2, dilation=2, padding_mode="reflect"),
        nn.Flatten(),
        nn.Linear(20 * 5 * 4, 10, bias=False),
    )


def test_what_lies_within_the_components_is_exact_around_the_mean() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(40, 30))
    task = fake_task(network, (1, 5, 8))
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(256, 3, generator=generator) @ torch.randn(3, 40, generator=generator) + 5.0
    task.calibration = low.reshape(256, 1, 5, 8)
    result = pruned(ActivationPca(rank=3), task)
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-4, atol=1e-4)


def test_fewer_samples_than_components_are_filled_up() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 50))
    task = fake_task(network, (1, 6, 10), calibration_count=8)
    result = pruned(ActivationPca(rank=20), task)
    assert result[1][0].weight.shape == (20, 60)
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-4, atol=1e-4)


def test_levin_drops_directions_until_the_validation_error_would_rise() -> None:
    task = digits_task(small_fcn())
    task.fit(task.network, epochs=12, lr=3e-3)
    before = accuracy(task.network, task)
    result = pruned(PrincipalComponentsPruning(tolerance=0.01), task)
    assert accuracy(result, task) >= before - 0.03
    assert sum(p.numel() for p in result.parameters()) < sum(p.numel() for p in task.network.parameters())


def test_levin_counts_what_a_direction_does_to_the_response() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 20))
    with torch.no_grad():
        network[1].weight[:, 0] = 0.0  # the input that varies most is not read at all
    task = fake_task(network, (1, 4, 5))
    task.calibration[:, 0, 0, 0] *= 100
    result = pruned(PrincipalComponentsPruning(rank=9), task)
    assert float(result[1][0].weight[:, 0].detach().abs().max()) < 0.1


def test_levin_declines_when_every_direction_matters() -> None:
    task = digits_task(small_fcn())
    task.fit(task.network, epochs=12, lr=3e-3)
    with pytest.raises(NotApplicable, match="raise the error by more than 0"):
        pruned(PrincipalComponentsPruning(tolerance=0.0, section="fc", round_to=1, skip_last=False), only_last(task))


def only_last(task: FakeTask) -> FakeTask:
    """The same network before its last layer, whose break-even is far too low for ten classes."""
    task.shapes = task.shapes[-1:]
    return task
