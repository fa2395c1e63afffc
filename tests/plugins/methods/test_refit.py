"""Refitting layers to what the dense network answered: where outputs land, and what a layer makes up for."""

from __future__ import annotations

import copy

import pytest
import torch
from prunebench_methods.channels import refit_math
from prunebench_methods.channels.channel_graph import channel_graph
from prunebench_methods.channels.landings import Landing, Values, landings
from prunebench_methods.channels.refit_math import dense_answers, refit
from prunebench_models.residual import Block
from test_interpolative import Dense, Residual, warmed
from torch import Tensor, nn


def lands_of(network: nn.Module, images: Tensor) -> dict[str, Landing]:
    graph = channel_graph(network, images[:1])
    return landings(network, graph.order, graph.norms, images[:1])


def images(count: int = 256) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def refitted(dense: nn.Module, network: nn.Module, names: list[str], seen: Tensor) -> nn.Module:
    """A copy of `network` with these layers fitted to what `dense` answers."""
    lands = {name: land for name, land in lands_of(dense, seen).items() if name in names}
    network = copy.deepcopy(network)
    refit(network, dense_answers(dense, lands, {}, seen, torch.Generator().manual_seed(0)), lands, seen)
    return network


def test_outputs_land_behind_their_norm_and_their_only_sum() -> None:
    torch.manual_seed(0)
    found = lands_of(Residual().eval(), images(1))
    assert (found["stem"].source, found["stem"].norm, found["stem"].other) == ("x", "norm", "")
    assert found["stem"].is_rectified
    assert (found["two.0"].norm, found["two.0"].other, found["two.0"].is_rectified) == ("two.1", "relu", True)
    assert found["excite"] == Landing("relu_2", "excite")
    assert found["head"].other == ""
    assert {land.other for land in lands_of(Dense().eval(), images(1)).values()} == {""}


class Branches(nn.Module):
    """A convolution and a linear map of its input, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.skip = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(1, 6, 1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.norm(self.first(x)) + self.skip(x)).relu_())


def test_a_layer_makes_up_for_what_the_other_branch_has_lost() -> None:
    """The 3x3 kernel can do what the 1x1 one did, so that nothing is missing in the end."""
    torch.manual_seed(0)
    dense = warmed(Branches(), images())
    damaged = copy.deepcopy(dense)
    nn.init.zeros_(damaged.skip.weight)
    network = refitted(dense, damaged, ["first"], images())
    x = images(8)
    with torch.no_grad():
        assert (damaged(x) - dense(x)).abs().max() > 0.05
        torch.testing.assert_close(network(x), dense(x), rtol=1e-3, atol=5e-3)


def test_a_muted_channel_of_a_norm_keeps_its_numbers() -> None:
    torch.manual_seed(0)
    dense = warmed(Branches(), images())
    with torch.no_grad():
        dense.norm.weight[2] = 0
    damaged = copy.deepcopy(dense)
    nn.init.zeros_(damaged.skip.weight)
    network = refitted(dense, damaged, ["first"], images())
    assert torch.equal(network.first.weight[2], dense.first.weight[2])
    assert not torch.equal(network.first.weight[1], dense.first.weight[1])
    assert all(torch.isfinite(p).all() for p in network.parameters())


class Rectified(nn.Module):
    """A narrow input and twice as many rectified sums of it as it has numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 12, 3)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.wide(self.narrow(x)).relu())


def test_values_below_zero_are_free_where_a_relu_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    dense = Rectified().eval()
    narrowed = copy.deepcopy(dense)
    with torch.no_grad():
        narrowed.narrow.weight[2], narrowed.narrow.bias[2] = 0, 0
    x = 4 * images() - 2

    def error(rounds: int) -> float:
        monkeypatch.setattr(refit_math, "ROUNDS", rounds)
        network = refitted(dense, narrowed, ["wide"], x)
        with torch.no_grad():
            made, wanted = (one.wide(one.narrow(x)).relu() for one in (network, dense))
        return float((made - wanted).square().mean())

    plain, rectified = error(1), error(4)
    assert rectified < 0.99 * plain


def test_a_network_that_is_whole_stays_as_it_is() -> None:
    torch.manual_seed(0)
    dense = warmed(nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), Block(6, 6, 1), Block(6, 8, 2)), images())
    network = refitted(dense, dense, list(lands_of(dense, images(1))), images())
    with torch.no_grad():
        torch.testing.assert_close(network(images(8)), dense(images(8)), rtol=1e-3, atol=1e-3)


def test_values_are_those_before_anything_changed_them_in_place() -> None:
    torch.manual_seed(0)
    network = Branches().eval()
    lands = lands_of(network, images(1))
    found = Values(network).at({lands["first"].end}, images(4))
    assert list(found) == ["add"]
    assert (found["add"] < 0).any()
