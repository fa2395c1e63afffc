"""Channels for a budget: what widths cost, and which are chosen."""

from __future__ import annotations

import copy

import pytest
import torch
from fake_task import FakeTask, digits_task, fake_task, mac_count, pruned
from prunebench import NotApplicable
from prunebench.measure.counts import counts
from prunebench_methods.channels import interpolative_prune
from prunebench_methods.channels.channel_budget import ChannelCosts, channel_costs, shared_widths, uniform_widths
from prunebench_methods.channels.channel_graph import Group, channel_graph
from prunebench_methods.channels.channel_removal import Shrinking
from prunebench_methods.channels.interpolative import InterpolativeChannels
from prunebench_models.residual import small_resnet
from test_interpolative import toy
from torch import nn


def removable(network: nn.Module, example: torch.Tensor) -> list[Group]:
    return [group for group in channel_graph(network, example).groups if not group.frozen and group.readers]


def resnet_task() -> FakeTask:
    torch.manual_seed(0)
    return digits_task(small_resnet(10, 8, 1))


@pytest.mark.parametrize("kind", ["fcn", "cnn", "residual", "dense", "resnet"])
def test_costs_are_those_of_the_network_that_is_cut_to_the_widths(kind: str) -> None:
    task = resnet_task() if kind == "resnet" else toy(kind)
    groups = removable(task.network, task.example_input)
    found = [channel_costs(task.network, groups, task.shapes, parameters=p) for p in (False, True)]
    widths = [1 + (3 * number + group.width // 2) % group.width for number, group in enumerate(groups)]
    network = copy.deepcopy(task.network)
    shrinking = Shrinking(network)
    for group, width in zip(groups, widths, strict=True):
        kept = torch.arange(width)
        shrinking.remove(group, kept, dict.fromkeys(group.readers, torch.eye(group.width)[:width]))
    macs, parameters = (round(costs.at(widths)) for costs in found)
    assert macs == mac_count(network, task.example_input)
    assert parameters == sum(p.numel() for p in network.parameters())
    assert found[0].widths == [group.width for group in groups]
    for costs in found:
        saved = costs.saved(0, widths[0])
        before = costs.spent
        costs.resize(0, widths[0])
        assert costs.spent == before - saved < before


def two_groups(channels: int = 16) -> ChannelCosts:
    """Two hidden layers as wide as each other; the first reads 64 numbers, the second is read by 10."""
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, channels), nn.Linear(channels, channels), nn.Linear(channels, 10)
    )
    task = fake_task(network, (1, 8, 8), count=16)
    return channel_costs(network, removable(network, task.example_input), task.shapes, parameters=False)


def test_a_shared_budget_goes_to_the_group_that_is_missed_most() -> None:
    needed, idle = [2.0**-k for k in range(17)], [0.0] * 17
    for missing, more, less in (([needed, idle], 0, 1), ([idle, needed], 1, 0)):
        costs = two_groups()
        budget = costs.spent / 2
        widths = shared_widths(missing, costs, budget, 1)
        assert widths[more] > widths[less]
        assert costs.spent <= budget


@pytest.mark.parametrize("round_to", [1, 4])
def test_a_budget_is_used_until_no_further_step_fits(round_to: int) -> None:
    missing = [[1 / (1 + k) for k in range(17)]] * 2
    for target in (1.5, 2, 4):
        costs = two_groups()
        budget = costs.spent / target
        widths = shared_widths(missing, costs, budget, round_to)
        assert all(width % round_to == 0 for width in widths)
        assert costs.spent <= budget
        for group, width in enumerate(widths):
            assert width == 16 or costs.spent - costs.saved(group, width + round_to) > budget


def test_one_share_is_the_largest_that_stays_within_the_budget() -> None:
    costs = two_groups()
    for target in (1, 1.5, 3):
        budget = costs.spent / target
        widths = uniform_widths(lambda share, channels: max(1, round(share * channels)), costs, budget)
        assert widths[0] == widths[1]
        assert costs.at(widths) <= budget
        assert widths[0] == 16 or costs.at([width + 1 for width in widths]) > budget


@pytest.mark.parametrize("allocation", ["uniform", "global"])
@pytest.mark.parametrize("name", ["theoretical_speedup", "compression"])
@pytest.mark.parametrize("kind", ["cnn", "resnet", "residual", "dense"])
def test_targets_are_reached_and_not_by_far_exceeded(kind: str, name: str, allocation: str) -> None:
    task = resnet_task() if kind == "resnet" else toy(kind)
    network = pruned(InterpolativeChannels(**{name: 3.0}, allocation=allocation, refit=False, images=64), task)
    before, after = (counts(n, task.example_input, dense=task.network) for n in (task.network, network))
    ratio = (
        before.mac_count / after.mac_count
        if name == "theoretical_speedup"
        else before.parameter_count / after.parameter_count
    )
    assert 3.0 <= ratio < (3.3 if allocation == "global" else 4.2)


def test_an_unreachable_target_is_declined_with_what_can_be_reached() -> None:
    task = toy("cnn")
    with pytest.raises(
        NotApplicable, match=r"theoretical_speedup 1e\+06 is out of reach: the fewest channels give \d+"
    ):
        pruned(InterpolativeChannels(theoretical_speedup=1e6), task)
    with pytest.raises(NotApplicable, match=r"compression 50 is out of reach: .* give \d"):
        pruned(InterpolativeChannels(compression=50, round_to=16), task)


def test_a_share_under_a_global_allocation_costs_what_it_does_uniformly() -> None:
    task = toy("cnn")
    one, other = (
        mac_count(pruned(InterpolativeChannels(keep=0.5, allocation=a, refit=False), task), task.example_input)
        for a in ("uniform", "global")
    )
    assert 0.9 * one < other <= one


def test_exactly_one_budget_is_asked_for() -> None:
    for settings in ({}, {"keep": 0.5, "compression": 2.0}):
        with pytest.raises(ValueError, match="give exactly one of keep, theoretical_speedup, compression"):
            InterpolativeChannels(**settings).check()


def test_the_even_allocation_is_taken_if_it_is_near_or_else_the_nearer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = toy("fcn")
    images = task.validation.images

    def made(allocation: str, near: float) -> nn.Module:
        monkeypatch.setattr(interpolative_prune, "NEAR", near)
        return pruned(InterpolativeChannels(theoretical_speedup=4, allocation=allocation), task)

    def distance(network: nn.Module) -> float:
        with torch.no_grad():
            wanted = task.network(images)
            return float((network(images) - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum())

    uniform, other = distance(made("uniform", 0.0)), distance(made("global", 0.0))
    assert other < uniform
    assert distance(made("auto", uniform * 1.01)) == uniform
    assert distance(made("auto", uniform * 0.99)) == other
    assert task.facts["1"]["rank"] == made("global", 0.0)[1].out_features


def test_a_share_alone_means_every_layer() -> None:
    one, other = (pruned(InterpolativeChannels(keep=0.25, allocation=a), toy("cnn")) for a in ("auto", "uniform"))
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
