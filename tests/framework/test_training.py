"""The one training loop."""

from __future__ import annotations

import copy

import pytest
import torch
from prunebench import TensorSplit
from prunebench.records import Recipe
from prunebench.trial.training import Course, fit
from torch import nn
from toys import CLASSIFICATION, Blobs, Tiny


@pytest.fixture
def splits(tmp_path):
    return Blobs().load((1, 4, 4), tmp_path)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Tiny().build(4)


def fitted(net, splits, recipe, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    course = Course(**options)
    return fit(
        net, splits.train, splits.validation, recipe, objective=CLASSIFICATION, generator=generator, course=course
    )


def test_it_learns_and_says_how(splits):
    net = network()
    curve = fitted(net, splits, Recipe(epochs=5, batch_size=16, lr=1e-2))
    assert [point.epoch for point in curve] == [1, 2, 3, 4, 5] and curve[-1].validation_accuracy > 0.95
    assert curve[-1].train_loss < curve[0].train_loss and not net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(splits):
    nets = [network(), network(), network()]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        fitted(net, splits, Recipe(epochs=2), seed)
    same = [torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True)]
    other = [torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[2].parameters(), strict=True)]
    assert all(same) and not any(other)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_zeros_stay_exactly_zero_under_momentum_and_weight_decay(splits, optimizer):
    net = network()
    fitted(net, splits, Recipe(epochs=1, optimizer=optimizer, weight_decay=0.1))
    with torch.no_grad():
        net[1].weight[:, ::2] = 0
    before = copy.deepcopy(net[1].weight)
    fitted(net, splits, Recipe(epochs=3, optimizer=optimizer, weight_decay=0.1), keep_zeros=True)
    assert bool((net[1].weight[:, ::2] == 0).all())
    assert not torch.equal(net[1].weight[:, 1::2], before[:, 1::2])


def test_patience_stops_and_restores_the_best_weights(splits):
    net = network()
    curve = fitted(net, splits, Recipe(epochs=60, patience=2, lr=0.5))
    losses = [point.validation_loss for point in curve]
    best = min(range(len(losses)), key=losses.__getitem__)
    assert len(curve) == best + 3 < 60
    images, labels = splits.validation.head(len(splits.validation))
    with torch.inference_mode():
        loss = float(nn.functional.cross_entropy(net(images), labels))
    assert loss == pytest.approx(losses[best], rel=1e-5)


def test_max_steps_stops_where_full_training_would_have_been(splits):
    recipe = Recipe(epochs=3, batch_size=32)
    steps, reached = [], network()
    fitted(reached, splits, recipe, max_steps=5, after_step=lambda: steps.append(1))
    whole, states = network(), []
    fitted(whole, splits, recipe, after_step=lambda: states.append(copy.deepcopy(whole.state_dict())))
    assert len(steps) == 5
    assert all(torch.equal(reached.state_dict()[name], states[4][name]) for name in states[4])


def test_no_epochs_leave_the_network_as_it_is(splits):
    net = network()
    before = copy.deepcopy(net.state_dict())
    assert fitted(net, splits, Recipe(epochs=0)) == ()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_loss_that_is_not_finite_is_an_error_with_the_fix(splits):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        fitted(network(), splits, Recipe(epochs=5, optimizer="sgd", lr=1e12))


def test_the_shuffled_batches_hold_every_sample_once(splits):
    generator = torch.Generator().manual_seed(0)
    numbered = TensorSplit(torch.arange(10.0).reshape(10, 1, 1, 1), torch.arange(10))
    seen = torch.cat([labels for _, labels in numbered.batches(3, generator=generator)])
    assert sorted(seen.tolist()) == list(range(10)) and seen.tolist() != list(range(10))


@pytest.mark.parametrize(("channels", "stride", "is_last"), [(4, 2, False), (4, 1, True), (16, 2, True)])
def test_a_layout_whose_gradients_overrun_is_left(splits, channels, stride, is_last):
    net = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, 8, 1, stride), nn.Flatten(), nn.LazyLinear(4)
    )
    net(splits.train.images[:1])
    seen: set[bool] = set()

    def look() -> None:
        seen.add(net[1].weight.stride() == (channels, 1, channels, channels))

    fitted(net, splits, Recipe(epochs=1, batch_size=60), after_step=look)
    assert seen == {is_last} and net[1].weight.stride() == (channels, 1, 1, 1)
