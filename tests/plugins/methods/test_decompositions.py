"""Every decomposition of convolutions against the layer it replaces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fake_task import FakeTask, assert_counts_hold, fake_task, pruned, small_cnn
from prunebench import Method, NotApplicable
from prunebench_methods.decompositions.bicluster import Bicluster
from prunebench_methods.decompositions.cp import Cp
from prunebench_methods.decompositions.separable_basis import SeparableBasis
from prunebench_methods.decompositions.spatial_svd import SpatialSvd
from prunebench_methods.decompositions.tucker2 import Tucker2
from torch import nn

EXACT = {"rank_ratio": 1.0, "even_if_larger": True}
METHODS: list[tuple[type[Method], dict[str, Any]]] = [
    (SpatialSvd, {}),
    (SeparableBasis, {}),
    (Cp, {"form": "four"}),
    (Cp, {"form": "three"}),
    (Cp, {"form": "two"}),
    (Tucker2, {}),
    (Tucker2, {"form": "pivot"}),
    (Bicluster, {}),
]
LAYERS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 2), "bias": False},
    {"kernel_size": (2, 3), "stride": (1, 3), "dilation": (2, 1), "padding": (1, 0)},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": 1, "padding_mode": "circular", "stride": 2},
    {"kernel_size": (1, 3), "padding": "valid"},
    {"kernel_size": (5, 1), "padding": (2, 0)},
]

every_method = pytest.mark.parametrize(("method", "options"), METHODS)


def one_layer(inputs: int = 4, outputs: int = 6, **options: Any) -> FakeTask:
    torch.manual_seed(1)
    layer = nn.Conv2d(inputs, outputs, **{"kernel_size": 3, **options})
    return fake_task(nn.Sequential(layer), (inputs, 11, 13), count=8)


def error_of(method: Method, task: FakeTask) -> float:
    network = pruned(method, task)
    with torch.no_grad():
        wanted, got = task.network(task.calibration), network(task.calibration)
    return float((wanted - got).norm() / wanted.norm())


@every_method
@pytest.mark.parametrize("layer", LAYERS)
def test_at_full_rank_the_chain_computes_what_the_layer_did(
    method: type[Method], options: dict[str, Any], layer: dict[str, Any]
) -> None:
    task = one_layer(**layer)
    network = pruned(method(**EXACT, **options), task)
    assert isinstance(network[0], nn.Conv2d) == (options == {"form": "pivot"})  # which then is the layer itself
    with torch.no_grad():
        wanted = task.network(task.calibration)
        torch.testing.assert_close(network(task.calibration), wanted, rtol=1e-4, atol=1e-4)


@every_method
@pytest.mark.parametrize("setting", [{"keep": 0.5}, {"rank": 2}, {"rank_ratio": 0.2, "round_to": 2}])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_declared_counts_are_those_of_the_network(
    method: type[Method], options: dict[str, Any], setting: dict[str, Any], layer: dict[str, Any]
) -> None:
    task = one_layer(8, 12, **layer)
    made = method(**setting, even_if_larger=True, **options)
    assert_counts_hold(made, task, pruned(made, task))


@every_method
def test_on_a_small_network_counts_hold_and_reasons_are_given(method: type[Method], options: dict[str, Any]) -> None:
    network = small_cnn()
    task = fake_task(network, (3, 12, 12))
    made = method(rank=2, **options)
    counts = assert_counts_hold(made, task, pruned(made, task))
    assert [count.left_alone for count in counts][2:] == ["not a convolution"] * 2
    assert counts[1].rank == 2


@every_method
def test_keep_bounds_the_weights_of_the_chain(method: type[Method], options: dict[str, Any]) -> None:
    task = one_layer(24, 32)
    for keep in (0.2, 0.3, 0.8):
        (counts,) = method(keep=keep, **options).counts(task.shapes) or []
        weights = counts.parameter_count - 32
        assert 0.5 * keep < weights / task.shapes[0].weight_count <= keep


@every_method
def test_the_error_falls_with_the_rank(method: type[Method], options: dict[str, Any]) -> None:
    task = one_layer(6, 8)
    errors = [error_of(method(rank_ratio=r, even_if_larger=True, **options), task) for r in (0.1, 0.3, 0.6, 1.0)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.2 and errors[-1] < 1e-5


@every_method
def test_the_recorded_error_is_that_of_the_kernel(method: type[Method], options: dict[str, Any]) -> None:
    task = one_layer(6, 8, bias=False)
    network = pruned(method(rank=2, **options), task)
    impulse = torch.zeros(6, 6, 3, 3)
    impulse[torch.arange(6), torch.arange(6), 1, 1] = 1
    padded = nn.functional.pad(impulse, (2, 2, 2, 2))
    with torch.no_grad():
        wanted, got = task.network(padded), network(padded)
    recorded = task.facts["0"]["weight_error"]
    assert recorded == pytest.approx(float((wanted - got).norm() / wanted.norm()), rel=1e-3)


@every_method
def test_the_same_seed_gives_the_same_weights(method: type[Method], options: dict[str, Any]) -> None:
    first, second = (pruned(method(rank=3, **options), one_layer(6, 8)) for _ in range(2))
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


@every_method
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_is_kept(method: type[Method], options: dict[str, Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    task = fake_task(nn.Sequential(nn.Conv2d(4, 6, 3)).to(dtype), (4, 8, 8), count=4)
    network = pruned(method(**EXACT, **options), task)
    assert {p.dtype for p in network.parameters()} == {dtype}
    tolerance = 1e-10 if dtype == torch.float64 else 0.1
    with torch.no_grad():
        wanted = task.network(task.calibration)
        torch.testing.assert_close(network(task.calibration), wanted, rtol=tolerance, atol=tolerance)


@every_method
def test_a_rank_that_saves_nothing_is_declined_with_the_break_even(
    method: type[Method], options: dict[str, Any]
) -> None:
    task = one_layer(16, 16)
    with pytest.raises(NotApplicable, match="saves nothing here: break-even is"):
        pruned(method(rank_ratio=1.0, **options), task)
    with pytest.raises(NotApplicable, match="keep 1 leaves it dense"):
        pruned(method(keep=1.0, **options), task)


@every_method
def test_what_cannot_be_decomposed_is_declined_with_the_reason(method: type[Method], options: dict[str, Any]) -> None:
    made = method(rank=1, **options)
    with pytest.raises(NotApplicable, match="a grouped convolution"):
        pruned(made, one_layer(4, 6, groups=2))
    with pytest.raises(NotApplicable, match="not a convolution"):
        pruned(made, fake_task(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), (3, 2, 2)))
    with pytest.raises(NotApplicable, match="no linear or convolutional layer"):
        pruned(made, fake_task(nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.Flatten()), (3, 2, 2)))
    broken = one_layer()
    broken.network[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(NotApplicable, match="not finite"):
        pruned(made, broken)


@every_method
def test_a_layer_that_is_used_twice_or_tied_is_left_alone(method: type[Method], options: dict[str, Any]) -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    with pytest.raises(NotApplicable, match="uses it 2 times"):
        pruned(method(rank=1, **options), fake_task(nn.Sequential(layer, layer), (4, 6, 6)))
    other = nn.Conv2d(4, 4, 3, padding=1)
    other.weight = layer.weight
    with pytest.raises(NotApplicable, match="shared with another layer"):
        pruned(method(rank=1, **options), fake_task(nn.Sequential(layer, other), (4, 6, 6)))


@every_method
def test_a_layer_of_zeros_becomes_a_chain_that_computes_zeros(method: type[Method], options: dict[str, Any]) -> None:
    task = one_layer()
    task.network[0].weight.data.zero_()
    network = pruned(method(rank=2, **options), task)
    with torch.no_grad():
        torch.testing.assert_close(network(task.calibration), task.network(task.calibration))


@every_method
def test_without_the_sizes_of_the_maps_there_is_no_closed_form(method: type[Method], options: dict[str, Any]) -> None:
    (shape,) = one_layer().shapes
    assert method(keep=0.5, **options).counts([replace(shape, input_size=None)]) is None


@every_method
def test_exactly_one_way_to_choose_the_rank(method: type[Method], options: dict[str, Any]) -> None:
    for wrong in ({}, {"rank": 2, "keep": 0.5}):
        with pytest.raises(ValueError, match="exactly one of rank, rank_ratio, keep"):
            method(**wrong, **options).check()


def test_one_by_one_kernels_are_for_low_rank_and_spatial_svd() -> None:
    for method in (Cp, Tucker2, SeparableBasis, Bicluster):
        with pytest.raises(NotApplicable, match="1x1 kernel has nothing to separate"):
            pruned(method(rank=1), one_layer(kernel_size=1))
    assert error_of(SpatialSvd(**EXACT), one_layer(kernel_size=1)) < 1e-5


def test_the_error_of_spatial_svd_is_the_tail_of_the_singular_values() -> None:
    task = one_layer(5, 7)
    weight = task.network[0].weight.detach()
    values = torch.linalg.svdvals(weight.permute(1, 2, 0, 3).reshape(15, 21))
    pruned(SpatialSvd(rank=4, even_if_larger=True), task)
    assert task.facts["0"]["weight_error"] == pytest.approx(float(values[4:].norm() / values.norm()), rel=1e-4)


@pytest.mark.parametrize("layer", [LAYERS[1], LAYERS[4]])
@pytest.mark.parametrize("rank", [2, 4, 5])
def test_tucker_between_channels_of_the_layer_is_the_same_product(layer: dict[str, Any], rank: int) -> None:
    task = one_layer(**layer)
    settings = {"rank": rank, "even_if_larger": True}
    factors, pivot = (pruned(Tucker2(form=form, **settings), task) for form in ("factors", "pivot"))
    with torch.no_grad():
        torch.testing.assert_close(pivot(task.calibration), factors(task.calibration), rtol=1e-4, atol=1e-5)
    held = [sum(p.numel() for p in network.parameters()) for network in (factors, pivot)]
    inner_in, inner_out = min(rank, 4), min(rank, 6)
    assert held[0] - held[1] == inner_in**2 + inner_out**2


def test_a_sweep_over_ranks_decomposes_once() -> None:
    for method in (SpatialSvd, SeparableBasis, Cp, Tucker2, Bicluster):
        task = one_layer(8, 8)
        for rank in (1, 2, 3):
            pruned(method(rank=rank), task)
        assert len(task.computed) == 1
