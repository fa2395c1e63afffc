"""Counts against closed forms."""

from __future__ import annotations

import copy
import random
import warnings

import pytest
import torch
import torchvision
from prunebench.measure.counts import counts, layer_shapes, mac_count, macs_by_module
from torch import Tensor, nn


@pytest.mark.parametrize(
    ("name", "parameter_count"), [("alexnet", 61_100_840), ("resnet50", 25_557_032), ("densenet121", 7_978_856)]
)
def test_known_networks_have_known_parameters_and_macs_add_up(name: str, parameter_count: int) -> None:
    network = getattr(torchvision.models, name)(weights=None)
    x = torch.zeros(1, 3, 224, 224)
    found = counts(network, x)
    assert found.parameter_count == parameter_count
    assert found.mac_count == sum(layer.mac_count for layer in layer_shapes(network, x))


def test_resnet50_computes_4_09_billion_multiply_accumulates() -> None:
    network = torchvision.models.resnet50(weights=None)
    assert mac_count(network, torch.zeros(1, 3, 224, 224)) == 4_089_184_256


def random_convolution(seed: int) -> tuple[nn.Conv2d, int, int]:
    rng = random.Random(seed)
    groups = rng.choice([1, 1, 2, 4])
    inputs, outputs = groups * rng.randint(1, 4), groups * rng.randint(1, 4)
    if rng.random() < 0.3:  # depthwise
        groups = inputs
        outputs = inputs * rng.randint(1, 2)
    layer = nn.Conv2d(
        inputs,
        outputs,
        (rng.randint(1, 4), rng.randint(1, 4)),
        stride=(rng.randint(1, 3), rng.randint(1, 3)),
        padding=(rng.randint(0, 3), rng.randint(0, 3)),
        dilation=(rng.randint(1, 2), rng.randint(1, 2)),
        groups=groups,
        bias=rng.random() < 0.5,
    )
    return layer, rng.randint(8, 17), rng.randint(8, 17)


@pytest.mark.parametrize("seed", range(40))
def test_a_convolution_costs_a_kernel_each_output(seed: int) -> None:
    layer, height, width = random_convolution(seed)
    x = torch.zeros(1, layer.in_channels, height, width)
    out_height, out_width = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip(
            (height, width), layer.padding, layer.dilation, layer.kernel_size, layer.stride, strict=True
        )
    )
    taps = layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels // layer.groups
    found = counts(layer, x)
    assert found.mac_count == out_height * out_width * layer.out_channels * taps
    assert found.parameter_count == layer.out_channels * (taps + (layer.bias is not None))
    shape = layer_shapes(nn.Sequential(layer), x)[0]
    assert (shape.mac_count, shape.parameter_count) == (found.mac_count, found.parameter_count)
    assert (shape.input_size, shape.output_size) == ((height, width), (out_height, out_width))


def test_macs_are_for_one_sample_whatever_the_batch() -> None:
    network = nn.Linear(6, 5)
    assert mac_count(network, torch.zeros(7, 6)) == 30


def test_macs_of_custom_layers_are_counted_and_indexing_is_free() -> None:
    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = nn.Parameter(torch.randn(3, 4, 5))

        def forward(self, x: Tensor) -> Tensor:
            kept = x.index_select(1, torch.arange(4))
            return torch.einsum("bj,ijk->bik", kept, self.core).flatten(1) @ torch.ones(15, 2)

    assert mac_count(nn.Sequential(Custom()), torch.zeros(1, 8)) == 3 * 4 * 5 + 15 * 2


def test_macs_are_known_for_every_module() -> None:
    network = nn.Sequential(nn.Linear(8, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    assert macs_by_module(network, torch.zeros(1, 8)) == {"": 40, "0": 32, "1": 8, "1.1": 8}


class Twice(nn.Module):
    """Calls one layer twice, another never, and ties the weights of two."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(6, 6)
        self.unused = nn.Linear(6, 6)
        self.first = nn.Linear(6, 6, bias=False)
        self.second = nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.shared(self.shared(self.first(x))))


def test_layers_come_in_order_of_execution_with_calls_and_ties() -> None:
    shapes = layer_shapes(Twice(), torch.zeros(1, 6))
    assert [(s.name, s.called, s.tied, s.positions) for s in shapes] == [
        ("first", 1, True, 1),
        ("shared", 2, False, 2),
        ("second", 1, True, 1),
    ]


def test_tied_parameters_are_counted_once_and_their_work_each_time() -> None:
    found = counts(Twice(), torch.zeros(1, 6))
    assert found.parameter_count == 2 * (36 + 6) + 36
    assert found.mac_count == 4 * 36


def test_positions_of_a_linear_layer_on_sequences_are_its_rows() -> None:
    shape = layer_shapes(nn.Sequential(nn.Linear(6, 3)), torch.zeros(1, 11, 6))[0]
    assert (shape.positions, shape.mac_count) == (11, 11 * 18)


def test_zeros_are_not_counted_as_nonzero() -> None:
    layer = nn.Linear(10, 10)
    with torch.no_grad():
        layer.weight[:3] = 0
    found = counts(layer, torch.zeros(1, 10))
    assert (found.parameter_count, found.nonzero_parameter_count) == (110, 80)


def test_statistics_of_a_batch_norm_are_no_parameters() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))
    assert counts(network, torch.zeros(1, 1, 3, 3), dense=copy.deepcopy(network)).parameter_count == 8 + 8


class Hidden(nn.Module):
    """A linear layer whose factors are a buffer, a plain attribute and a codebook with 8-bit codes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("left", torch.ones(6, 2))
        self.register_buffer("codes", torch.ones(2, 6, dtype=torch.uint8))
        self.register_buffer("order", torch.arange(6))
        self.right = torch.ones(2, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.order] @ self.left @ self.right


def test_factors_kept_outside_of_parameters_are_counted_all_the_same() -> None:
    dense = nn.Sequential(nn.Linear(6, 6))
    found = counts(nn.Sequential(Hidden()), torch.zeros(1, 6), dense=dense)
    assert found.parameter_count == found.nonzero_parameter_count == 12 + 12 + 12


def test_statistics_of_more_channels_count_as_parameters() -> None:
    dense, fewer, more = (nn.Sequential(nn.Conv2d(1, n, 1), nn.BatchNorm2d(n)) for n in (6, 4, 8))
    x = torch.zeros(1, 1, 2, 2)
    assert counts(fewer, x, dense=dense).parameter_count == 4 * (2 + 2)
    assert counts(more, x, dense=dense).parameter_count == 8 * (2 + 2 + 2)


def test_a_dynamically_quantized_network_is_counted() -> None:
    torch.manual_seed(0)  # of weights near zero some become zero
    dense = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(dense, {nn.Linear}, dtype=torch.qint8)
    assert counts(quantized, torch.zeros(1, 8), dense) == counts(dense, torch.zeros(1, 8))


def test_counting_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = copy.deepcopy(network.state_dict())
    counts(network, torch.randn(2, 1, 5, 5))
    layer_shapes(network, torch.randn(2, 1, 5, 5))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in network.modules())


def test_a_network_without_parameters_counts_nothing() -> None:
    found = counts(nn.Sequential(nn.Flatten()), torch.zeros(1, 1, 2, 2))
    assert (found.parameter_count, found.nonzero_parameter_count, found.mac_count) == (0, 0, 0)
