"""int8: integer arithmetic to the last digit, real kernels, copies and pickles, and what is declined."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import pytest
import torch
from fake_task import FakeTask, accuracy, fake_task, pruned, small_cnn, small_fcn
from prunebench import NotApplicable
from prunebench.measure.counts import counts
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.quantization.int8 import Int8
from prunebench_methods.quantization.int8_layers import (
    Int8Conv2d,
    Int8Layer,
    Int8Linear,
    input_code,
    input_levels,
    quantized_weight,
)
from prunebench_methods.shared.storage import storage_formats
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS: list[dict[str, Any]] = [
    {"padding": 1},
    {"stride": 2, "padding": 2},
    {"dilation": 2, "bias": False},
    {"groups": 8},
    {"groups": 2, "padding": (0, 1), "stride": (2, 1)},
    {"padding": "same", "padding_mode": "reflect"},
    {"padding": 1, "padding_mode": "circular"},
]


def task_of(network: nn.Module, shape: tuple[int, int, int] = (3, 12, 12), **options: Any) -> FakeTask:
    return fake_task(network, shape, **options)


def expected(layer: Int8Layer, x: Tensor, product: Any) -> Tensor:
    """The layer's result in exact integer arithmetic."""
    codes = (x / layer.input_scale + layer.zero_point).round().clamp(0, input_levels()).double() - layer.zero_point
    sums = product(codes, layer.codes.double())
    scales = (layer.scales.double() * layer.input_scale).view(-1, *[1] * (layer.codes.ndim - 2))
    bias = 0 if layer.bias is None else layer.bias.double().view(scales.shape)
    return (sums * scales + bias).float()


@pytest.mark.parametrize("span", [(0.0, 3.0), (-2.0, 4.0)])
@pytest.mark.parametrize("shape", [(5, 40), (2, 3, 40)])
def test_a_linear_layer_computes_in_integers(span: tuple[float, float], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(40, 7), span, input_levels())
    x = torch.empty(shape).uniform_(*span)
    torch.testing.assert_close(layer(x), expected(layer, x, functional.linear), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("span", [(0.0, 3.0), (-2.0, 4.0)])
@pytest.mark.parametrize("options", CONVOLUTIONS[:5], ids=str)
def test_a_convolution_computes_in_integers(options: dict[str, Any], span: tuple[float, float]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(8, 16, 3, **options)
    layer = Int8Conv2d(convolution, span, input_levels())
    x = torch.empty(2, 8, 9, 11).uniform_(*span)
    stride, padding, dilation, groups = layer.geometry

    def product(codes: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(codes, weight, None, stride, padding, dilation, groups)

    torch.testing.assert_close(layer(x), expected(layer, x, product), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_a_convolution_keeps_its_geometry_and_comes_close(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(8, 16, 3, **options)
    x = torch.randn(4, 8, 9, 11)
    span = (float(x.min()), float(x.max()))
    with torch.no_grad():
        truth, found = convolution(x), Int8Conv2d(convolution, span, input_levels())(x)
    assert found.shape == truth.shape
    assert (found - truth).norm() < 0.02 * truth.norm()


def test_weights_are_off_by_half_a_scale_at_most_and_zeros_by_nothing() -> None:
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    weight[2], weight[:, 7] = 0, 0
    codes, scales = quantized_weight(weight)
    assert ((codes * scales.unsqueeze(1) - weight).abs() <= scales.unsqueeze(1) * 0.5001).all()
    assert codes.dtype == torch.int8 and not codes[2].any() and not codes[:, 7].any()
    assert codes.abs().amax() == 127


@pytest.mark.parametrize("span", [(0.0, 1.0), (-3.0, 5.0), (2.0, 4.0), (-4.0, -2.0), (0.0, 0.0)])
def test_zero_has_a_code_of_its_own(span: tuple[float, float]) -> None:
    scale, zero_point = input_code(*span, 255)
    assert scale > 0 and isinstance(zero_point, int) and 0 <= zero_point <= 255


@pytest.mark.parametrize(("make", "shape"), [(small_fcn, (1, 8, 8)), (small_cnn, (3, 12, 12))])
def test_a_trained_network_keeps_its_accuracy(make: Any, shape: tuple[int, int, int]) -> None:
    task = task_of(make(), shape)
    task.fit(task.network, epochs=10, lr=3e-3)
    network = pruned(Int8(), task)
    assert accuracy(task.network, task) > 0.8
    assert abs(accuracy(network, task) - accuracy(task.network, task)) <= 0.05
    assert not any(isinstance(module, (nn.Linear, nn.Conv2d)) for module in network.modules())


def test_the_kernels_that_run_are_the_integer_ones() -> None:
    network = pruned(Int8(), task_of(small_cnn()))
    with torch.profiler.profile() as profile:
        network(torch.randn(2, 3, 12, 12))
    called = {event.key for event in profile.key_averages()}
    assert {"quantized::linear_with_input_q_dq_qweight_dq_output_fp32", "onednn::qconv2d_pointwise"} <= called
    assert not called & {"aten::linear", "aten::addmm", "aten::convolution"}


@pytest.mark.slow
def test_integers_are_faster_where_the_product_dominates() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(1024, 2048))
    fast = pruned(Int8(), task_of(network, (1, 32, 32), count=32))
    x = torch.randn(64, 1, 32, 32)

    def seconds(one: nn.Module) -> float:
        started = time.perf_counter()
        one(x)
        return time.perf_counter() - started

    with torch.inference_mode():
        assert min(seconds(fast) for _ in range(20)) < min(seconds(network) for _ in range(20))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_computes_the_same(copied: Any) -> None:
    task = task_of(small_cnn())
    network = pruned(Int8(), task)
    before = network(task.calibration)
    assert torch.equal(copied(network)(task.calibration), before)


def test_the_state_dict_shows_the_codes() -> None:
    network = pruned(Int8(), task_of(small_cnn()))
    state = network.state_dict()
    assert state["0.codes"].dtype == torch.int8 and state["0.codes"].shape == (16, 3, 3, 3)
    assert state["6.scales"].shape == (40,) and state["8.bias"].dtype == torch.float32


@pytest.mark.parametrize("section", ["all", "fc", "conv"])
def test_the_declared_counts_are_the_counted_ones(section: str) -> None:
    task = task_of(small_cnn())
    declared = Int8(section=section).counts(task.shapes)
    assert declared is not None
    found = counts(pruned(Int8(section=section), task), task.example_input, dense=task.network)
    assert found.parameter_count == sum(layer.parameter_count for layer in declared)
    assert found.nonzero_parameter_count <= sum(layer.nonzero_parameter_count for layer in declared)
    assert found.mac_count == sum(layer.mac_count for layer in declared) == sum(s.mac_count for s in task.shapes)


def test_a_weight_takes_a_byte_and_a_channel_four() -> None:
    task = task_of(small_cnn())
    formats = storage_formats(pruned(Int8(), task))
    weights, channels = sum(s.weight_count for s in task.shapes), sum(s.out_channels for s in task.shapes)
    assert formats["dense"] == 8 + weights + (4 + 4) * channels + 80 * 3 * len(task.shapes)


def test_zeros_of_an_earlier_mask_stay_and_are_stored_as_such() -> None:
    task = task_of(small_cnn())
    sparse = pruned(Magnitude(keep=0.1), task)
    network = Int8().prune(copy.deepcopy(sparse), task)
    assert all(not network[i].codes[sparse[i].weight == 0].any() for i in (0, 3, 6, 8))
    assert storage_formats(network)["huffman"] < storage_formats(network)["bitmap"]
    assert storage_formats(network)["bitmap"] < 0.5 * storage_formats(network)["dense"]


def test_weights_that_are_loaded_are_the_ones_that_compute() -> None:
    task, other = task_of(small_cnn()), task_of(small_cnn())
    with torch.no_grad():
        for parameter in other.network.parameters():
            parameter.mul_(0.5)
    first, second = pruned(Int8(section="fc"), task), pruned(Int8(section="fc"), other)
    before = first(task.calibration)
    first.load_state_dict(second.state_dict())
    assert not torch.equal(first(task.calibration), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_come_out_as_they_went_in(dtype: torch.dtype) -> None:
    task = task_of(small_cnn().to(dtype))
    network = pruned(Int8(), task)
    assert network(task.calibration).dtype == dtype
    assert {parameter.dtype for parameter in network.parameters()} == {dtype}


def test_what_is_asked_for_is_trained_before_and_nothing_after() -> None:
    task = task_of(small_cnn())
    plain, trained = pruned(Int8(), task), pruned(Int8(finetune=True), task)
    assert not torch.equal(plain.state_dict()["0.codes"], trained.state_dict()["0.codes"])
    assert not any(p.requires_grad for p in trained.parameters())


def test_another_device_is_declined() -> None:
    task = task_of(small_cnn())
    task.device = torch.device("cuda", 0)
    with pytest.raises(NotApplicable, match="run on the CPU, and this trial on cuda:0"):
        pruned(Int8(), task)


def test_inputs_that_are_not_finite_are_declined() -> None:
    task = task_of(small_cnn())
    task.calibration[0, 0, 0, 0] = float("nan")
    with pytest.raises(NotApplicable, match="inputs of '0'"):
        pruned(Int8(), task)
