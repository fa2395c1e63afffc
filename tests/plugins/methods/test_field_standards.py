"""Masks and filters as the field compares them: shares, scores and removals against sums written out here."""

from __future__ import annotations

import copy
import math
from dataclasses import fields

import pytest
import torch
from fake_task import FakeTask
from prunebench import LayerShape, Method, NotApplicable, TensorSplit
from prunebench.testing import check_method
from prunebench_methods.channels.filter_criteria import FilterCriteria, RandomFilters, SoftFilters
from prunebench_methods.masks.gradual import GradualMagnitude
from prunebench_methods.masks.grasp import Grasp
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.masks.random_masks import Random
from prunebench_methods.masks.snip import Snip
from prunebench_methods.masks.synflow import SynFlow
from prunebench_methods.shared.layer_shares import erdos_renyi_counts
from prunebench_methods.shared.saliency import HEAT, connection_sensitivity, gradient_flow
from torch import nn
from torchvision.models import MNASNet

SHAPES = [
    LayerShape("a", "conv2d", 16, 3, (3, 3)),
    LayerShape("b", "conv2d", 32, 16, (3, 3)),
    LayerShape("c", "linear", 200, 512),
    LayerShape("d", "linear", 10, 200),
]


def task_of(network: nn.Module, shape: tuple[int, ...] = (6,)) -> FakeTask:
    images = torch.randn(48, *shape, generator=torch.Generator().manual_seed(1))
    split = TensorSplit(images, torch.arange(48) % 3)
    return FakeTask(network, split, split)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.mark.parametrize(
    "method",
    [Magnitude(keep=0.3, scope="erk"), Magnitude(keep=0.3, scope="lamp"), Random(keep=0.3, scope="erk"),
     GradualMagnitude(keep=0.3, steps=6, every=2), Snip(keep=0.3), Grasp(keep=0.3), SynFlow(keep=0.3, rounds=5),
     FilterCriteria(), FilterCriteria(criterion="geometric_median"), RandomFilters(), SoftFilters(steps=4, every=2)],
    ids=lambda method: f"{method.name}-{getattr(method, 'scope', getattr(method, 'criterion', ''))}",
)  # fmt: skip
def test_they_pass_the_kit(method: Method) -> None:
    settings = {part.name: getattr(method, part.name) for part in fields(method)}
    assert check_method(type(method), settings, speed=False) == []


def test_shares_by_shapes_are_in_proportion_and_add_up_exactly() -> None:
    for keep in (0.02, 0.1, 0.5, 0.9, 1.0):
        counts = erdos_renyi_counts(SHAPES, keep)
        assert sum(counts) == math.ceil(keep * sum(shape.weight_count for shape in SHAPES))
        assert all(0 <= count <= shape.weight_count for count, shape in zip(counts, SHAPES, strict=True))
    counts = erdos_renyi_counts(SHAPES, 0.02)
    raw = [(16 + 3 + 3 + 3), (32 + 16 + 3 + 3), (200 + 512), (10 + 200)]  # of each layer, share times its weights
    assert counts[0] == SHAPES[0].weight_count or counts[0] / counts[2] == pytest.approx(raw[0] / raw[2], rel=0.05)
    assert counts[1] / counts[2] == pytest.approx(raw[1] / raw[2], rel=0.05)
    assert counts[3] / counts[2] == pytest.approx(raw[3] / raw[2], rel=0.05)


def test_lamp_keeps_the_weights_of_largest_score_over_all_layers() -> None:
    network, keep = small(), 0.4
    task, scored = task_of(network), []
    for name in ("0", "2"):
        squares = network.get_submodule(name).weight.detach().double().flatten().square().tolist()
        for place, value in enumerate(squares):
            scored.append((value / sum(other for other in squares if other >= value), name, place))
    wanted = {(name, place) for _, name, place in sorted(scored, reverse=True)[: math.ceil(keep * len(scored))]}
    pruned = Magnitude(keep=keep, scope="lamp").prune(copy.deepcopy(network), task)
    kept = {
        (name, int(place)) for name in ("0", "2") for place in pruned.get_submodule(name).weight.flatten().nonzero()
    }
    assert kept == wanted


def test_sensitivities_are_what_finite_differences_say() -> None:
    network = small().double()
    task = task_of(network)
    task.train = TensorSplit(task.train.images.double(), task.train.labels)
    layers = [network[0], network[2]]

    def loss(heat: float = 1.0) -> torch.Tensor:
        return task.objective.loss(network(task.train.images) / heat, task.train.labels)

    def norm() -> float:
        grads = torch.autograd.grad(loss(HEAT), [layer.weight for layer in layers])
        return float(sum(grad.square().sum() for grad in grads))

    snip, grasp, step = (
        connection_sensitivity(network, layers, task, 48),
        gradient_flow(network, layers, task, 48),
        1e-5,
    )
    for layer, felt, flow in zip(layers, snip, grasp, strict=True):
        for place in ((0, 0), (2, 3)):
            kept = float(layer.weight.detach()[place])
            seen = []
            for sign in (1, -1):
                with torch.no_grad():
                    layer.weight[place] = kept + sign * step
                seen.append((float(loss().detach()), norm()))
            with torch.no_grad():
                layer.weight[place] = kept
            slope = (seen[0][0] - seen[1][0]) / (2 * step)
            bent = (seen[0][1] - seen[1][1]) / (2 * step) / 2  # half the slope of the squared norm is H g
            assert float(felt[place]) == pytest.approx(abs(kept * slope), rel=1e-4, abs=1e-9)
            assert float(flow[place]) == pytest.approx(kept * bent, rel=1e-3, abs=1e-12)


def test_flow_of_a_chain_is_the_product_of_absolute_weights() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -4.0], [2.0, 3.0]]))
        network[1].weight.copy_(torch.tensor([[0.1, -5.0]]))
    task = task_of(network, (2,))
    before = copy.deepcopy(network.state_dict())
    masks = SynFlow(keep=0.5, rounds=1).masks(network, [network[0], network[1]], task)
    # flows: 0.1, 0.4, 10 and 15 through the first layer, 0.5 and 25 through the second
    assert [mask.tolist() for mask in masks] == [[[False, False], [True, True]], [[False, True]]]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_flow_leaves_a_network_whose_modules_have_versions_as_it_was() -> None:
    torch.manual_seed(0)
    network = MNASNet(0.1, num_classes=3).eval()  # it refuses weights of no version
    task, before = task_of(network, (3, 32, 32)), copy.deepcopy(network.state_dict())
    (mask,) = SynFlow(keep=0.5, rounds=2).masks(network, [network.layers[0]], task)
    assert int(mask.sum()) == mask.numel() // 2
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_network_without_a_second_derivative_is_declined() -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.Hardsigmoid(), nn.Linear(5, 3))
    with pytest.raises(NotApplicable, match="no second derivative: derivative for aten::hardsigmoid"):
        Grasp(keep=0.5).prune(network, task_of(network))


def test_the_gradual_share_follows_its_cube_and_is_reached() -> None:
    method = GradualMagnitude(keep=0.2, steps=100, pruned_by=0.8)
    assert [method.share(step) for step in (0, 40, 80, 99)] == pytest.approx([1.0, 0.2 + 0.8 * 0.125, 0.2, 0.2])
    pruned = GradualMagnitude(keep=0.2, steps=8, every=2).prune(small(), task_of(small()))
    assert [int((layer.weight != 0).sum()) for layer in (pruned[0], pruned[2])] == [6, 3]


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("criterion", ["l1", "l2", "bn_scale", "geometric_median"])
def test_the_filters_that_stay_are_those_of_the_criterion(criterion: str) -> None:
    network = convolutional()
    nn.init.normal_(network[1].weight)
    rows = network[0].weight.detach().double().flatten(1)
    numbers = {
        "l1": rows.abs().sum(1),
        "l2": rows.square().sum(1),
        "bn_scale": network[1].weight.detach().abs(),
        "geometric_median": torch.stack([(rows - row).square().sum(1).sqrt().sum() for row in rows]),
    }[criterion]
    kept = sorted(numbers.argsort(descending=True)[:2].tolist())
    pruned = FilterCriteria(criterion=criterion).prune(copy.deepcopy(network), task_of(network, (1, 6, 6)))
    assert torch.equal(pruned[0].weight, network[0].weight[kept]) and pruned[1].num_features == 2
    assert torch.allclose(pruned[5].weight, network[5].weight[:, kept])
    silent = copy.deepcopy(network)
    gone = [row for row in range(4) if row not in kept]
    with torch.no_grad():
        silent[5].weight[:, gone] = 0
    x = torch.randn(5, 1, 6, 6)
    assert torch.allclose(pruned(x), silent(x), atol=1e-6)
