"""Rows a layer against errors computed by hand."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from prunebench.measure.counts import layer_shapes
from prunebench.measure.layers import layer_records
from prunebench.measure.probes import weight_error
from prunebench.records import LayerRecord
from torch import Tensor, nn


def small() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    return network, torch.randn(16, 2, 6, 6)


def records_of(dense: nn.Module, pruned: nn.Module, x: Tensor, **notes: dict[str, object]) -> dict[str, LayerRecord]:
    found = layer_records(dense, pruned, notes, x, layer_shapes(dense, x))
    return {record.name: record for record in found}


def truncated(layer: nn.Linear, rank: int) -> tuple[nn.Sequential, float]:
    """Two thin layers by singular values, and the relative error that theory gives."""
    left, values, right = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    thin = nn.Sequential(nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features))
    with torch.no_grad():
        thin[0].weight.copy_(right[:rank])
        thin[1].weight.copy_(left[:, :rank] * values[:rank])
        thin[1].bias.copy_(layer.bias)
    return thin, float(values[rank:].norm() / values.norm())


def test_a_copy_is_left_alone_everywhere() -> None:
    network, x = small()
    found = records_of(network, copy.deepcopy(network), x)
    assert [(r.left_alone, r.weight_error, r.output_error) for r in found.values()] == [("unchanged", 0.0, 0.0)] * 3
    assert all(r.parameter_count_after == r.parameter_count_before for r in found.values())
    assert all(r.mac_count_after == r.mac_count_before for r in found.values())


def test_a_factorized_layer_has_the_error_of_its_truncation() -> None:
    network, x = small()
    pruned = copy.deepcopy(network)
    pruned[3], wanted = truncated(network[3], 2)
    record = records_of(network, pruned, x, **{"3": {"rank": 2}})["3"]
    assert record.weight_error == pytest.approx(wanted, rel=1e-4)
    assert record.rank == 2
    assert record.left_alone == ""
    assert (record.shape_before, record.shape_after) == ((8, 64), ((2, 64), (8, 2)))
    assert (record.parameter_count_before, record.parameter_count_after) == (8 * 64 + 8, 2 * 64 + 8 * 2 + 8)
    assert (record.mac_count_before, record.mac_count_after) == (8 * 64, 2 * 64 + 8 * 2)


def test_the_output_error_is_taken_on_the_dense_networks_own_inputs() -> None:
    network, x = small()
    pruned = copy.deepcopy(network)
    with torch.no_grad():
        pruned[0].weight.zero_()  # spoils the inputs of what follows, which must not be seen there
        pruned[3].weight[::2] = 0
    record = records_of(network, pruned, x)["3"]
    with torch.no_grad():
        hidden = network[:3](x)
        wanted, got = network[3](hidden), pruned[3](hidden)
    assert record.output_error == pytest.approx(float((got - wanted).norm() / wanted.norm()), rel=1e-5)
    assert record.nonzero_parameter_count_after == 4 * 64 + 8


@pytest.mark.parametrize("seed", range(25))
def test_the_weight_error_of_a_convolution_is_found_from_outside(seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    groups = rng.choice([1, 2, 4])
    layer = nn.Conv2d(
        4,
        8,
        (rng.randint(1, 4), rng.randint(1, 3)),
        stride=(rng.randint(1, 3), rng.randint(1, 3)),
        padding=(rng.randint(0, 4), rng.randint(0, 4)),
        dilation=(rng.randint(1, 3), rng.randint(1, 2)),
        groups=groups,
    )
    changed = copy.deepcopy(layer)
    with torch.no_grad():
        changed.weight += 0.1 * torch.randn_like(changed.weight)
        changed.bias += 1  # biases are left out
        wanted = float((changed.weight - layer.weight).norm() / layer.weight.norm())
        found = weight_error(layer, nn.Sequential(changed, nn.Identity()))
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_paddings_are_understood(padding: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, (3, 2), padding=padding)
    changed = copy.deepcopy(layer)
    with torch.no_grad():
        changed.weight *= 0.75
        assert weight_error(layer, nn.Sequential(changed)) == pytest.approx(0.25, rel=1e-5)


def test_the_error_of_a_wide_layer_is_estimated_well() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3000, 1000)
    changed = copy.deepcopy(layer)
    with torch.no_grad():
        changed.weight += 0.1 * torch.randn_like(changed.weight)
        wanted = float((changed.weight - layer.weight).norm() / layer.weight.norm())
        assert weight_error(layer, nn.Sequential(changed)) == pytest.approx(wanted, rel=0.02)
        assert weight_error(layer, changed) == pytest.approx(wanted, rel=1e-4)  # two plain layers are not asked


def test_a_layer_that_is_more_than_its_weight_is_asked() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 5)
    same, doubled, hooked = (copy.deepcopy(layer) for _ in range(3))
    doubled.forward = lambda x: 2 * nn.functional.linear(x, layer.weight)  # type: ignore[method-assign]
    hooked.register_forward_hook(lambda module, args, y: 3 * y)
    with torch.no_grad():
        assert weight_error(layer, same) == 0.0
        assert weight_error(layer, doubled) == pytest.approx(1)
        assert weight_error(layer, hooked) == pytest.approx(2)
        assert weight_error(nn.Conv2d(2, 4, 1), nn.Conv2d(2, 3, 1)) is None


class Random(nn.Module):
    """A layer that draws anew at every call."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn(len(x), 8)


class Rounded(nn.Module):
    """A layer that rounds its inputs."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((x * 1.3).round())


def test_a_layer_that_is_not_linear_has_only_an_output_error() -> None:
    network, x = small()
    for replacement in (Random(), Rounded(copy.deepcopy(network[3]))):
        pruned = copy.deepcopy(network)
        pruned[3] = replacement
        record = records_of(network, pruned, x)["3"]
        assert record.weight_error is None
        assert record.output_error is not None and record.output_error > 0.01


def test_a_layer_that_lost_inputs_has_counts_but_no_errors() -> None:
    network, x = small()
    pruned = copy.deepcopy(network)
    pruned[3], pruned[5] = nn.Linear(64, 5), nn.Linear(5, 3)
    record = records_of(network, pruned, x)["5"]
    assert (record.weight_error, record.output_error) == (None, None)
    assert record.parameter_count_after == 18
    assert record.mac_count_after == 15


def test_a_layer_that_is_gone_says_so_by_what_it_lacks() -> None:
    dense = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    record = records_of(dense, nn.Sequential(nn.Linear(4, 4)), torch.randn(3, 4))["1"]
    assert (record.parameter_count_after, record.mac_count_after, record.shape_after) == (None, None, ())


def test_what_a_method_said_wins_over_what_is_found() -> None:
    network, x = small()
    record = records_of(network, copy.deepcopy(network), x, **{"5": {"left_alone": "rank above break-even"}})["5"]
    assert record.left_alone == "rank above break-even"


def test_networks_stay_as_they_were() -> None:
    network, x = small()
    pruned = copy.deepcopy(network)
    pruned[3], _ = truncated(network[3], 2)
    network.train()
    records_of(network, pruned, x)
    assert all(module.training for module in [*network.modules(), *pruned.modules()])
    assert not any(module._forward_hooks for module in network.modules())
