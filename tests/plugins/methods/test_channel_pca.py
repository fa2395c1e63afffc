"""Widths and depth from principal components of feature maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fake_task import FakeTask, accuracy, digits_task, fake_task, pruned, small_cnn, small_fcn
from prunebench import NotApplicable
from prunebench_methods.channels.channel_pca import ChannelPca
from prunebench_methods.channels.channel_pca_math import _can_be_dropped, significant
from torch import Tensor, nn


def redundant_net(ranks: tuple[int, int, int]) -> nn.Sequential:
    """Three convolutions of 12 channels whose maps have these ranks; a batch norm behind the second."""
    generator = torch.Generator().manual_seed(0)
    convolutions = [nn.Conv2d(inputs, 12, 3, padding=1, bias=False) for inputs in (1, 12, 12)]
    for layer, rank in zip(convolutions, ranks, strict=True):
        basis = torch.randn(rank, *layer.weight.shape[1:], generator=generator)
        mix = torch.randn(12, rank, generator=generator)
        layer.weight.data = torch.einsum("tr,rsyx->tsyx", mix, basis) / 10
    first, second, third = convolutions
    head = (nn.Flatten(), nn.Linear(12 * 16, 20), nn.ReLU(), nn.Linear(20, 10))
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.BatchNorm2d(12), nn.ReLU(), third, *head)


def widths(network: nn.Module) -> list[int]:
    return [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]


def test_a_layer_becomes_as_wide_as_the_rank_of_its_maps() -> None:
    task = digits_task(redundant_net((3, 5, 8)))
    network = pruned(ChannelPca(variance=0.999999, retrain=False), task)
    assert widths(network) == [3, 5, 8]
    assert network[4].num_features == 5
    assert network[8].in_features == 8 * 16
    assert network(task.calibration[:2]).shape == (2, 10)
    assert task.notes == ["widths: 12 to 3, 12 to 5, 12 to 8"]


def test_a_layer_that_adds_no_component_is_dropped() -> None:
    task = digits_task(redundant_net((5, 4, 7)))
    network = pruned(ChannelPca(variance=0.999999, retrain=False), task)
    assert widths(network) == [5, 7]
    assert isinstance(network[3], nn.Identity) and isinstance(network[4], nn.Identity)
    assert network[6].in_channels == 5
    assert task.facts["3"]["removed"] == "its 4 significant components are no more than the 5 before it"
    kept = pruned(ChannelPca(variance=0.999999, retrain=False, depth=False), task)
    assert widths(kept) == [5, 4, 7]


def test_a_layer_that_changes_the_size_of_its_maps_stays() -> None:
    net = redundant_net((5, 4, 7))
    net[3].stride, net[8] = (2, 2), nn.Linear(12 * 4, 20)
    network = pruned(ChannelPca(variance=0.999999, retrain=False), digits_task(net))
    assert widths(network) == [5, 4, 7]


def test_a_layer_without_padding_by_name_stays() -> None:
    net = redundant_net((5, 4, 7))
    net[3].padding, net[6].padding = "valid", "same"
    assert not _can_be_dropped(net[3]) and _can_be_dropped(net[6])


def test_the_designed_network_learns_from_fresh_weights() -> None:
    task = digits_task(redundant_net((3, 5, 8)))
    task.train_recipe = lambda: {"epochs": 6, "lr": 5e-3}  # type: ignore[method-assign]
    network = pruned(ChannelPca(section="all", variance=0.99), task)
    assert accuracy(network, task) > 0.8
    assert network[8].out_features < 20


def test_widths_are_rounded_up_within_the_layer() -> None:
    network = pruned(ChannelPca(variance=0.999999, retrain=False, round_to=8), digits_task(redundant_net((3, 9, 8))))
    assert widths(network) == [8, 12]


def test_the_same_seed_draws_the_same_weights_and_leaves_torch_alone() -> None:
    tasks = [digits_task(redundant_net((3, 5, 8))) for _ in range(2)]
    before = torch.random.get_rng_state()
    made = [pruned(ChannelPca(retrain=False), task) for task in tasks]
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, made[0].state_dict().values(), made[1].state_dict().values()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    network = pruned(ChannelPca(variance=0.5, retrain=False), fake_task(small_cnn().to(dtype), (3, 12, 12)))
    assert {p.dtype for p in network.parameters()} == {dtype}


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.head((x + self.two(x)).flatten(1))


@pytest.mark.parametrize(
    ("network", "options", "reason"),
    [
        (Branching, {}, "no chain of layers: one, two share their channels"),
        (small_fcn, {}, "no layer of section 'conv' can change its width"),
        (lambda: redundant_net((9, 12, 12)), {"variance": 1.0, "depth": False}, "every layer keeps its width"),
    ],
)
def test_what_cannot_be_designed_is_declined_with_the_reason(network: Any, options: Any, reason: str) -> None:
    task: FakeTask = digits_task(network())
    if options:
        for layer in (0, 3, 6):
            torch.manual_seed(layer)
            nn.init.normal_(task.network[layer].weight)
        task.network[0] = nn.Conv2d(1, 9, 3, padding=1)
        task.network[3] = nn.Conv2d(9, 12, 3, padding=1)
    with pytest.raises(NotApplicable, match=reason):
        pruned(ChannelPca(**options), task)


def test_significant_components_reach_the_share() -> None:
    values = torch.tensor([6.0, 3.0, 1.0, 0.0])
    assert [significant(values, share) for share in (0.5, 0.6, 0.61, 0.9, 0.95, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert significant(torch.zeros(4), 0.9) == 1
