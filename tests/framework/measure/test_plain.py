"""Which layers compute as nn.Linear or nn.Conv2d does."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from prunebench.measure.counts import layer_shapes
from prunebench.measure.plain import why_left_alone
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

VECTORS = torch.rand(2, 8)


class Standardised(nn.Linear):
    def forward(self, x):
        return functional.linear(x, self.weight - self.weight.mean(1, keepdim=True), self.bias)


class OwnConvolution(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight * 0.5, bias)


class Adapted(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.down = nn.Linear(inputs, 2)
        self.up = nn.Linear(2, outputs)

    def forward(self, x):
        return super().forward(x) + self.up(self.down(x))


class Renamed(nn.Linear):
    """Computes as its parent does."""


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(nn.Linear(8, 8))


def masked() -> nn.Module:
    layer = nn.Linear(8, 8)
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


def patched() -> nn.Module:
    layer = nn.Linear(8, 8)
    layer.forward = lambda x: x  # type: ignore[method-assign]
    return layer


def with_bias_of(change: nn.Module) -> nn.Module:
    layer = nn.Linear(8, 8)
    parametrize.register_parametrization(layer, "bias", change)
    return layer


def with_buffer() -> nn.Module:
    layer = nn.Linear(8, 8)
    layer.register_buffer("mask", torch.ones(8, 8))
    return layer


def resized() -> nn.Module:
    layer = nn.Linear(8, 4)
    layer.weight = nn.Parameter(torch.ones(8, 8))
    layer.bias = None
    return layer


REASONS = [
    (lambda: Standardised(8, 8), "Standardised has a forward pass of its own"),
    (lambda: Adapted(8, 8), "Adapted has a forward pass of its own"),
    (patched, "Linear has a forward pass of its own"),
    (lambda: parametrizations.weight_norm(nn.Linear(8, 8)), "its weight is computed by a parametrization"),
    (lambda: parametrizations.spectral_norm(nn.Linear(8, 8)), "its weight is computed by a parametrization"),
    (lambda: parametrizations.orthogonal(nn.Linear(8, 8)), "its weight is computed by a parametrization"),
    (lambda: with_bias_of(Twice()), "its bias is computed by a parametrization"),
    (old_weight_norm, "its weight is computed by a hook"),
    (masked, "its weight is computed by a hook"),
    (with_buffer, "it holds more than a weight and a bias: mask"),
    (resized, "its weight has shape (8, 8) instead of (4, 8)"),
    (lambda: nn.Linear(8, 8), ""),
    (lambda: Renamed(8, 8), ""),
]


@pytest.mark.parametrize(("make", "why"), REASONS)
def test_what_computes_otherwise_is_left_alone_with_the_reason(make, why):
    network = nn.Sequential(make(), nn.ReLU())
    found = {shape.name: shape.left_alone for shape in layer_shapes(network, VECTORS)}
    assert found["0"] == why
    assert {name: kind for name, kind in why_left_alone(copy.deepcopy(network)).items() if name == "0"} == {"0": why}


def test_a_convolution_with_its_own_arithmetic_is_left_alone():
    (shape,) = layer_shapes(OwnConvolution(3, 4, 3), torch.rand(1, 3, 5, 5))
    assert shape.name == "" and shape.left_alone == "OwnConvolution has a forward pass of its own"


class Tied(nn.Module):
    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.other, self.head = other, nn.Linear(8, 8)
        self.head.weight = other.weight

    def forward(self, x):
        return self.head(x)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (nn.Embedding(8, 8), "its weight is shared with other (Embedding)"),
        (nn.Linear(8, 8), "its weight is shared with another layer"),
    ],
)
def test_a_shared_weight_is_found_whatever_owns_it_besides(other, why):
    (shape,) = layer_shapes(Tied(other), VECTORS)
    assert shape.tied and shape.left_alone == why


def test_a_shared_bias_and_a_weight_kept_in_a_list_count_as_shared():
    network = Tied(nn.Linear(8, 8))
    network.head.weight = nn.Parameter(torch.rand(8, 8))
    network.head.bias = network.other.bias
    (shape,) = layer_shapes(network, VECTORS)
    assert not shape.tied and shape.left_alone == "its bias is shared with another layer"
    network.head.bias, network.kept = None, [network.head.weight]
    assert layer_shapes(network, VECTORS)[0].left_alone == "its weight is shared with the network (Tied)"


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.out = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.out(functional.linear(self.encode(x), self.encode.weight.t()))


def test_a_weight_that_the_network_reads_itself_is_noticed():
    network = Decoder()
    shapes = {shape.name: shape for shape in layer_shapes(network, VECTORS)}
    assert shapes["encode"].read_outside and not shapes["out"].read_outside
    assert not shapes["encode"].left_alone, "its weight may be written in place"
    assert type(network.encode) is nn.Linear, "the class that listens is gone"


def test_an_encoder_layer_reads_its_weights_when_it_evaluates():
    network = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    read = {s.name: s.read_outside for s in layer_shapes(network, torch.rand(1, 3, 8))}
    assert read == {"linear1": True, "linear2": True}


def test_a_hook_that_works_on_the_weight_reads_it():
    network = nn.Sequential(nn.Linear(8, 8))
    network[0].register_forward_pre_hook(lambda module, args: module.weight.data.mul_(1))
    assert layer_shapes(network, VECTORS)[0].read_outside


def test_a_layer_called_by_keyword_has_the_shape_of_one_called_by_position():
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.layer(input=x)

    (shape,) = layer_shapes(Keyword(), torch.rand(1, 3, 5, 6))
    assert (shape.positions, shape.input_size, shape.output_size) == (12, (5, 6), (3, 4))
