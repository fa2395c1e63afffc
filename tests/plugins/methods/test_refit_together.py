"""Refitting all layers together: nearer to the dense network, and nothing else about the network changes."""

from __future__ import annotations

import copy

import pytest
import torch
from fake_task import FakeTask, digits_task, pruned
from prunebench_methods.channels import refit_together as together
from prunebench_methods.channels.channel_graph import channel_graph
from prunebench_methods.channels.interpolative import InterpolativeChannels
from prunebench_methods.channels.refit_together import Whitened
from test_interpolative import Residual, toy, trained_digits
from torch import Tensor, nn


def error(network: nn.Module, task: FakeTask) -> float:
    """Of the outputs on pictures that no refit sees, over what they are."""
    with torch.no_grad():
        wanted = task.network(task.validation.images)
        return float((network(task.validation.images) - wanted).norm() / wanted.norm())


@pytest.fixture(scope="module")
def residual() -> FakeTask:
    torch.manual_seed(0)
    task = digits_task(Residual())
    task.fit(task.network, epochs=8, lr=1e-2)
    return task


@pytest.mark.parametrize("kind", ["fcn", "residual"])
def test_together_layers_come_nearer_to_the_dense_outputs(kind: str, residual: FakeTask) -> None:
    task = trained_digits() if kind == "fcn" else residual
    apart, joint = (pruned(InterpolativeChannels(keep=0.4, joint_steps=steps), task) for steps in (0, 40))
    assert error(joint, task) < 0.8 * error(apart, task)
    assert {n: v.shape for n, v in apart.state_dict().items()} == {n: v.shape for n, v in joint.state_dict().items()}
    assert task.notes[-1].startswith("all layers refitted together in ")


def test_layers_left_alone_stay_and_nothing_is_left_on_the_network(residual: FakeTask) -> None:
    task = copy.deepcopy(residual)
    task.network.head.requires_grad_(False)
    before = copy.deepcopy(task.network.state_dict())
    network = pruned(InterpolativeChannels(keep=0.5, shared=False, joint_steps=10), task)
    assert set(task.left_alone()) == {"stem"}
    assert torch.equal(network.stem.weight, task.network.stem.weight)
    assert torch.equal(network.norm.weight, task.network.norm.weight)
    assert not torch.equal(network.depthwise.weight, task.network.depthwise.weight)
    assert all(torch.equal(value, before[name]) for name, value in task.network.state_dict().items())
    frozen = sorted(name for name, value in network.named_parameters() if not value.requires_grad)
    assert frozen == ["head.bias", "head.weight"]
    assert all(value.grad is None and value.is_leaf for value in network.parameters())
    assert not any(nn.utils.parametrize.is_parametrized(module) for module in network.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_is_kept_and_the_same_run_gives_the_same_numbers(dtype: torch.dtype) -> None:
    task = toy("fcn")
    task.network.to(dtype)
    task.calibration = task.calibration.to(dtype)
    method = InterpolativeChannels(keep=0.4, joint_steps=10)
    first, second = (pruned(method, task).state_dict() for _ in range(2))
    assert {value.dtype for value in first.values()} == {dtype}
    assert all(map(torch.equal, first.values(), second.values()))
    assert {p.dtype for p in task.network.parameters()} == {dtype}


def test_answers_that_are_not_kept_in_memory_are_the_same(monkeypatch: pytest.MonkeyPatch, residual: FakeTask) -> None:
    method = InterpolativeChannels(keep=0.5, joint_steps=10)
    kept = pruned(method, residual).state_dict()
    monkeypatch.setattr(together, "KEPT_NUMBERS", 0)
    again = pruned(method, residual).state_dict()
    assert all(map(torch.equal, kept.values(), again.values()))


def test_it_ends_where_images_that_are_held_out_get_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight images say nothing about others: the numbers of the step that suited those best are kept."""
    task = trained_digits()
    task.calibration = task.calibration[:8]
    looks: list[Tensor] = []
    one = together._copied

    def copied(network: nn.Module) -> dict[str, Tensor]:
        looks.append(network[1].weight.detach().clone())
        return one(network)

    monkeypatch.setattr(together, "_copied", copied)
    network = pruned(InterpolativeChannels(keep=0.3, joint_steps=400), task)
    assert torch.equal(looks[-1], network[1].weight)
    steps = int(task.notes[-1].split(" in ")[1].split()[0])
    assert steps == together.CHECK * (len(looks) - 1) < 400


def test_one_image_is_enough_to_run() -> None:
    task = trained_digits()
    task.calibration = task.calibration[:1]
    network = pruned(InterpolativeChannels(keep=0.5, joint_steps=5), task)
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_a_whitened_weight_is_the_weight() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3)
    before, rows = layer.weight.detach().clone(), torch.randn(100, 27)
    factor = torch.linalg.cholesky(rows.T @ rows / 100 + torch.eye(27))
    nn.utils.parametrize.register_parametrization(layer, "weight", Whitened(factor, layer.weight.shape))
    torch.testing.assert_close(layer.weight, before)
    torch.testing.assert_close(layer.parametrizations.weight.original, before.flatten(1) @ factor)


def test_the_toy_network_has_a_depthwise_layer_that_is_scaled() -> None:
    """What the tests above rely on."""
    graph = channel_graph(Residual().eval(), torch.zeros(1, 1, 8, 8))
    assert "depthwise" in {slot.module for group in graph.groups for slot in group.scalers}
