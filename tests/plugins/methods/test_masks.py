"""Magnitude, random and matched random masks: exact counts, ties, zeros that stay, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from fake_task import FakeTask, assert_counts_hold, fake_task, pruned, small_cnn, small_fcn
from hypothesis import given, settings
from hypothesis import strategies as st
from prunebench import Method, NotApplicable, PruneBenchError, Task
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.masks.random_masks import Random
from prunebench_methods.masks.random_matched import RandomMatched
from prunebench_methods.shared.exact import kept_count
from prunebench_methods.shared.masking import highest
from torch import Tensor, nn

MASKS = {"magnitude": Magnitude, "random": Random, "random_matched": RandomMatched}
KEEPS = (0.05, 0.10, 0.20, 0.50, 0.75)
ROHLICEK_FC = (5240, 9309, 17447, 41862, 62208)
ROHLICEK_CONV = (81683, 81729, 81820, 82095, 82325)


def lenet() -> nn.Sequential:
    """Rohlicek's network: 82,554 parameters, 26 classes."""
    torch.manual_seed(0)
    features = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Linear(576, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 26)]
    return nn.Sequential(*features, nn.Flatten(), *head)


def task_of(network: nn.Module, shape: tuple[int, int, int] = (3, 12, 12), **options: Any) -> FakeTask:
    return fake_task(network, shape, methods=MASKS, count=32, **options)


@pytest.fixture(scope="module")
def lenet_task() -> FakeTask:
    return task_of(lenet(), (1, 32, 32))


def nonzero(network: nn.Module) -> int:
    return sum(int(p.count_nonzero()) for p in network.parameters())


def zeros(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() == 0 for name, p in network.named_parameters() if p.ndim > 1}


def equal(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


@pytest.mark.parametrize("method", [Magnitude, Random])
@pytest.mark.parametrize(("section", "published"), [("fc", ROHLICEK_FC), ("conv", ROHLICEK_CONV)])
def test_the_counts_of_rohlicek_come_out_exactly(
    lenet_task: FakeTask, method: type[Method], section: str, published: tuple[int, ...]
) -> None:
    assert sum(p.numel() for p in lenet_task.network.parameters()) == 82_554
    for keep, expected in zip(KEEPS, published, strict=True):
        masking = method(keep=keep, section=section)
        assert nonzero(pruned(masking, lenet_task)) == expected
        declared = masking.counts(lenet_task.shapes)
        assert declared is not None and sum(c.nonzero_parameter_count for c in declared) == expected


@given(st.integers(0, 10**7), st.integers(1, 1000))
def test_a_share_in_thousandths_is_taken_without_rounding_errors(count: int, thousandths: int) -> None:
    assert kept_count(thousandths / 1000, count) == -(-thousandths * count // 1000)


def test_a_share_that_floats_round_up_is_exact() -> None:
    assert 0.07 * 100 > 7 and kept_count(0.07, 100) == 7


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.integers(0, 45))
def test_a_mask_keeps_exactly_so_many_and_of_equals_the_first(values: list[int], count: int) -> None:
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    expected = torch.tensor([i in order for i in range(len(values))])
    assert torch.equal(highest(torch.tensor(values).float(), count), expected)
    assert torch.equal(highest(torch.tensor(values).bfloat16(), count), expected)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("method", [Magnitude, Random])
@pytest.mark.parametrize("section", ["all", "fc", "conv"])
def test_the_declared_counts_are_the_counted_ones(method: type[Method], scope: str, section: str) -> None:
    task = task_of(small_cnn())
    masking = method(keep=0.3, scope=scope, section=section)
    network = pruned(masking, task)
    declared = assert_counts_hold(masking, task, network)
    assert sum(layer.nonzero_parameter_count for layer in declared) == nonzero(network)


def test_layer_counts_hold_layer_by_layer() -> None:
    task = task_of(small_cnn())
    network = pruned(Magnitude(keep=0.123), task)
    for layer in Magnitude(keep=0.123).counts(task.shapes) or []:
        assert layer.nonzero_parameter_count == nonzero(network.get_submodule(layer.name))


def test_global_magnitude_keeps_the_largest_wherever_they_are() -> None:
    network = small_cnn()
    with torch.no_grad():
        network[0].weight.sign_()
    masked = pruned(Magnitude(keep=0.2, scope="global"), task_of(network))
    kept = torch.cat([p.detach()[p != 0].abs() for p in masked.parameters() if p.ndim > 1])
    everything = torch.cat([p.detach().abs().flatten() for p in network.parameters() if p.ndim > 1])
    assert kept.min() >= everything.sort(descending=True).values[len(kept) - 1]
    assert nonzero(masked[0]) == nonzero(network[0])


def test_keeping_everything_changes_nothing() -> None:
    task = task_of(small_cnn())
    for method in (Magnitude(keep=1.0), Magnitude(keep=1.0, scope="global"), Random(keep=1.0), RandomMatched(keep=1.0)):
        assert equal(pruned(method, task), task.network)


def test_exact_zeros_are_the_first_to_go() -> None:
    network = small_fcn()
    with torch.no_grad():
        network[1].weight[:24] = 0
    masked = pruned(Magnitude(keep=0.5), task_of(network, (1, 8, 8)))
    assert torch.equal(masked[1].weight, network[1].weight)


def test_equal_weights_are_kept_in_order() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.constant_(network[1].weight, -0.5)
    weight = pruned(Magnitude(keep=0.25), task_of(network, (1, 8, 8)))[1].weight.flatten()
    assert bool((weight[:160] == -0.5).all()) and not bool(weight[160:].any())


def test_zeros_stay_zero_under_adam_with_weight_decay() -> None:
    task = task_of(small_cnn())
    network = pruned(Magnitude(keep=0.1), task)
    before, weights = zeros(network), copy.deepcopy(network)
    task.fit(network, epochs=3, lr=0.01, weight_decay=0.1)
    assert all(torch.equal(mask, before[name]) for name, mask in zeros(network).items())
    assert not equal(network, weights)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_zeros_stay_zero_in_the_training_loop_whatever_the_optimizer(optimizer: str) -> None:
    from prunebench.records import Recipe
    from prunebench.trial.training import Course, fit

    task = task_of(small_cnn())
    network = pruned(Magnitude(keep=0.1), task)
    before, weights = zeros(network), copy.deepcopy(network)
    recipe = Recipe(epochs=2, batch_size=8, lr=0.01, optimizer=optimizer, momentum=0.9, weight_decay=0.05)
    fit(
        network,
        task.train,
        task.validation,
        recipe,
        objective=task.objective,
        generator=task.generator,
        course=Course(keep_zeros=True),
    )
    assert all(torch.equal(mask, before[name]) for name, mask in zeros(network).items())
    assert not equal(network, weights)


@pytest.mark.parametrize("method", [Random(keep=0.3), Random(keep=0.3, scope="global"), RandomMatched(keep=0.3)])
def test_the_seed_decides_random_masks(method: Method) -> None:
    first, again = pruned(method, task_of(small_cnn(), seed=1)), pruned(method, task_of(small_cnn(), seed=1))
    other = pruned(method, task_of(small_cnn(), seed=2))
    assert equal(first, again) and not equal(first, other)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_matched_random_masks_have_the_other_methods_share_of_every_layer(scope: str) -> None:
    task = task_of(small_cnn())
    example = pruned(Magnitude(keep=0.2, scope=scope), task)
    control = pruned(RandomMatched(keep=0.2, scope=scope), task)
    for one, other in zip(example.parameters(), control.parameters(), strict=True):
        assert one.count_nonzero() == other.count_nonzero()
    assert not equal(example, control)


def test_a_method_without_a_share_cannot_be_matched() -> None:
    def refusing(name: str, **params: Any) -> Method:
        raise PruneBenchError(f"{name} has no parameter keep")

    task = task_of(small_cnn())
    task.method = refusing  # type: ignore[method-assign]
    with pytest.raises(NotApplicable, match="low_rank has no parameter keep"):
        pruned(RandomMatched(of="low_rank"), task)


def test_a_method_that_replaces_layers_cannot_be_matched() -> None:
    class Halving(Magnitude):
        def prune(self, network: nn.Module, task: Task) -> nn.Module:
            network[6] = nn.Sequential(nn.Linear(384, 2), nn.Linear(2, 40))
            return network

    task = task_of(small_cnn())
    task.methods = {"halving": Halving}
    with pytest.raises(NotApplicable, match="halving does not mask 6"):
        pruned(RandomMatched(of="halving"), task)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_keep_their_type(dtype: torch.dtype) -> None:
    network = pruned(Magnitude(keep=0.3), task_of(small_cnn().to(dtype)))
    assert {p.dtype for p in network.parameters()} == {dtype}
    assert int(network[0].weight.count_nonzero()) == kept_count(0.3, network[0].weight.numel())
