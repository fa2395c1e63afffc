"""Grids of few bits: each method against a few lines of numpy, packing for real, compositions, bad input."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from fake_task import FakeTask, accuracy, fake_task, pruned, small_cnn, small_fcn
from numpy.typing import NDArray
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.quantization.awq import AWQ
from prunebench_methods.quantization.bits import Bits
from prunebench_methods.quantization.gptq import GPTQ
from prunebench_methods.quantization.grids import codes_of, fitted_grid, packed_codes, unpacked_weight
from prunebench_methods.quantization.hqq import HQQ
from prunebench_methods.quantization.rtn import RoundToNearest
from prunebench_methods.shared.feedback import inverse_triangle, step_of, sweep
from prunebench_methods.shared.grams import Gram
from prunebench_methods.shared.replace import linear_and_conv_layers
from prunebench_methods.shared.storage import HEADER_BYTES, dense_byte_count
from torch import nn

Array = NDArray[np.float64]
METHODS: list[type[Bits]] = [RoundToNearest, GPTQ, AWQ, HQQ]


def weight_of(rows: int = 12, inputs: int = 32) -> Array:
    return np.random.default_rng(1).standard_normal((rows, inputs))


def inputs_of(rows: int = 400, inputs: int = 32) -> Array:
    generator = np.random.default_rng(0)
    mixing = np.eye(inputs) + 0.4 * generator.standard_normal((inputs, inputs))
    return generator.standard_normal((rows, inputs)) @ mixing * np.logspace(-1, 1, inputs)


def gram_of(inputs: Array) -> Gram:
    gram = Gram()
    gram.add(torch.tensor(inputs)[:, None])
    return gram


def rounded_by(method: Bits, weight: Array, inputs: Array) -> Array:
    grid, codes = method.grid(torch.tensor(weight), gram_of(inputs), 0)
    assert float(codes.min()) >= 0 and float(codes.max()) <= 2**method.bits - 1 and torch.equal(codes, codes.round())
    return grid.values(codes).numpy()


def loss(new: Array, weight: Array, inputs: Array) -> float:
    return float(np.square(inputs @ (new - weight).T).sum())


def sixteen(values: Array) -> Array:
    return values.astype(np.float16).astype(np.float64)


def plain_rtn(weight: Array, bits: int, group: int, share: float = 1.0) -> Array:
    cut = weight.reshape(len(weight), -1, group)
    low, high = np.minimum(cut.min(2, keepdims=True), 0) * share, np.maximum(cut.max(2, keepdims=True), 0) * share
    scale = sixteen((high - low) / (2**bits - 1))
    zero = np.round(-low / scale)
    codes = np.clip(np.round(cut / scale) + zero, 0, 2**bits - 1)
    return (scale * (codes - zero)).reshape(weight.shape)


def plain_gptq(weight: Array, inputs: Array, bits: int, damp: float, order: NDArray[np.intp]) -> Array:
    """Optimal brain quantization in an order, the inverse taken anew for every column; scales by row."""
    second = (inputs.T @ inputs / len(inputs))[np.ix_(order, order)]
    second += damp * second.diagonal().mean() * np.eye(len(second))
    low, high = np.minimum(weight.min(1), 0), np.maximum(weight.max(1), 0)
    scale = sixteen((high - low) / (2**bits - 1))
    zero, work = np.round(-low / scale), weight[:, order].copy()
    for column in range(work.shape[1]):
        inverse = np.linalg.inv(second[column:, column:])
        codes = np.clip(np.round(work[:, column] / scale) + zero, 0, 2**bits - 1)
        value = np.where(weight[:, order[column]] == 0, 0, scale * (codes - zero))
        work[:, column:] -= np.outer((work[:, column] - value) / inverse[0, 0], inverse[0])
        work[:, column] = value
    return work[:, np.argsort(order)]


def plain_awq(weight: Array, inputs: Array, bits: int, group: int) -> Array:
    """The best of twenty powers."""
    sizes = np.sqrt(np.square(inputs).mean(0))
    best = (np.inf, weight)
    for step in range(20):
        raised = np.maximum(sizes ** (step / 20), 1e-4)
        factors = sixteen(raised / np.sqrt(raised.max() * raised.min()))
        new = plain_rtn(weight * factors, bits, group) / factors
        best = min(best, (loss(new, weight, inputs), new), key=lambda pair: pair[0])
    return best[1]


def plain_hqq(weight: Array, bits: int, group: int) -> Array:
    cut = weight.reshape(len(weight), -1, group)
    scale = sixteen((cut.max(2, keepdims=True) - cut.min(2, keepdims=True)) / (2**bits - 1))
    zero, beta, least = sixteen(-cut.min(2, keepdims=True) / scale), 10.0, np.inf
    for _ in range(20):
        codes = np.clip(np.round(cut / scale + zero), 0, 2**bits - 1)
        error = cut - scale * (codes - zero)
        if abs(error).mean() >= least:
            break
        least, best = abs(error).mean(), scale * (codes - zero)
        kept = np.sign(error) * np.maximum(abs(error) - np.maximum(abs(error), 1e-12) ** -0.3 / beta, 0)
        zero, beta = sixteen((codes - (cut - kept) / scale).mean(2, keepdims=True)), beta * 1.01
    return best.reshape(weight.shape)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [0, 8])
def test_rounding_to_the_nearest_equals_its_definition(bits: int, group: int) -> None:
    weight = weight_of()
    found = rounded_by(RoundToNearest(bits=bits, group=group), weight, inputs_of())
    np.testing.assert_allclose(found, plain_rtn(weight, bits, group or 32), atol=1e-12)


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize(("row_count", "columns"), [(400, 32), (20, 32), (400, 150)])
def test_gptq_equals_surgery_with_explicit_inverses(act_order: bool, row_count: int, columns: int) -> None:
    weight, inputs = weight_of(inputs=columns), inputs_of(row_count, columns)
    weight[:3, ::7] = 0  # stays at zero
    order = np.argsort(-np.square(inputs).mean(0), kind="stable") if act_order else np.arange(columns)
    found = rounded_by(GPTQ(bits=3, act_order=act_order), weight, inputs)
    np.testing.assert_allclose(found, plain_gptq(weight, inputs, 3, 0.01, order), atol=1e-9)


@pytest.mark.parametrize("size", [1, 96, 97, 300])
def test_a_triangle_is_inverted_half_by_half(size: int) -> None:
    generator = np.random.default_rng(0)
    upper = np.triu(generator.standard_normal((size, size))) / size + np.diag(generator.uniform(0.5, 2, size))
    found = inverse_triangle(torch.tensor(upper)).numpy()
    np.testing.assert_allclose(found, np.linalg.inv(upper), atol=1e-12)
    assert not np.tril(found, -1).any()


@pytest.mark.parametrize("group", [1, 4, 24, 32, 64])
@pytest.mark.parametrize("block", [128, 192, 256])
def test_a_chooser_that_reads_a_group_ahead_finds_it_corrected(group: int, block: int) -> None:
    class Means:
        """Columns become their group's mean by row, from what the group is as it begins."""

        def begin(self, block: torch.Tensor, first: int, scale: torch.Tensor) -> None:
            """Nothing."""

        def column(self, block: torch.Tensor, place: int, first: int) -> torch.Tensor:
            if (first + place) % group == 0:
                self.mean = block[:, place : place + group].mean(1)
            return self.mean

    block -= block % group
    weight, root = weight_of(5, 384), np.triu(np.random.default_rng(2).standard_normal((384, 384))) / 40 + np.eye(384)
    work = weight.copy()
    for column in range(384):
        if column % group == 0:
            mean = work[:, column : column + group].mean(1)
        work[:, column + 1 :] -= np.outer((work[:, column] - mean) / root[column, column], root[column, column + 1 :])
        work[:, column] = mean
    found = sweep(torch.tensor(weight), torch.tensor(root), Means(), block, step_of(group, block))
    np.testing.assert_allclose(found.numpy(), work, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("row_count", [400, 20])
def test_awq_equals_the_best_of_twenty_powers(row_count: int) -> None:
    weight, inputs = weight_of(), inputs_of(row_count)
    found = rounded_by(AWQ(bits=3, group=8, clip=False), weight, inputs)
    np.testing.assert_allclose(found, plain_awq(weight, inputs, 3, 8), atol=1e-9)


@pytest.mark.parametrize("group", [8, 32])
def test_hqq_equals_its_rounds(group: int) -> None:
    weight = weight_of()
    found = rounded_by(HQQ(bits=3, group=group), weight, inputs_of())
    np.testing.assert_allclose(found, plain_hqq(weight, 3, group), atol=1e-9)


def test_each_way_is_better_than_rounding_by_its_own_measure() -> None:
    weight, inputs = weight_of(), inputs_of()
    losses = {cls: loss(rounded_by(cls(bits=3, group=8), weight, inputs), weight, inputs) for cls in METHODS}
    assert losses[GPTQ] < 0.6 * losses[RoundToNearest] and losses[AWQ] < 0.9 * losses[RoundToNearest]
    nearest, shifted = (rounded_by(cls(bits=3, group=8), weight, inputs) for cls in (RoundToNearest, HQQ))
    assert abs(shifted - weight).mean() < abs(nearest - weight).mean()
    unclipped = loss(rounded_by(AWQ(bits=3, group=32, clip=False), weight, inputs), weight, inputs)
    assert unclipped < loss(rounded_by(RoundToNearest(bits=3), weight, inputs), weight, inputs)


def test_scales_from_corrected_weights_differ_from_those_of_dense_ones() -> None:
    weight, inputs = weight_of(), inputs_of()
    moving = rounded_by(GPTQ(bits=3, group=8, act_order=False, static_groups=False), weight, inputs)
    still = rounded_by(GPTQ(bits=3, group=8, act_order=False), weight, inputs)
    assert not np.array_equal(moving, still)
    assert loss(moving, weight, inputs) < loss(
        rounded_by(RoundToNearest(bits=3, group=8), weight, inputs), weight, inputs
    )


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_packed_codes_give_every_weight_back(cls: type[Bits], dtype: torch.dtype, bits: int) -> None:
    task = fake_task(small_cnn().to(dtype), (3, 12, 12), count=32)
    network = pruned(cls(bits=bits), task)
    for layer in linear_and_conv_layers(network).values():
        data = packed_codes(layer, bits)
        assert data is not None and len(data) == -(-layer.weight.numel() * bits // 8)
        assert layer.weight.dtype == dtype and torch.equal(unpacked_weight(data, layer, bits), layer.weight)


@pytest.mark.parametrize(("group", "per_weight"), [(128, 4.15625), (64, 4.3125)])
def test_bytes_of_four_bits_count_scales_and_zero_points(group: int, per_weight: float) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 64, bias=False))
    task = fake_task(network, (1, 16, 16), classes=5, count=32)
    method = RoundToNearest(bits=4, group=group)
    found = method.storage(pruned(method, task))
    assert found["packed"] - 8 - 3 * HEADER_BYTES == per_weight / 8 * 256 * 64
    symmetric = RoundToNearest(bits=4, group=group, symmetric=True)
    bits = 8 * (symmetric.storage(pruned(symmetric, task))["packed"] - 8 - 2 * HEADER_BYTES) / (256 * 64)
    assert bits == 4 + 16 / group


def test_a_weight_that_left_its_grid_is_not_said_to_be_packed() -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=32)
    method = RoundToNearest(bits=4)
    network = pruned(method, task)
    before = method.storage(network)["packed"]
    with torch.no_grad():
        network[1].weight[0, 0] += 1e-3
    assert codes_of(network[1], 4) is None and codes_of(network[3], 4) is not None
    assert before < method.storage(network)["packed"] < dense_byte_count(network)


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("group", [0, 8])
def test_counts_hold_and_layers_that_do_not_divide_are_left_alone(cls: type[Bits], group: int) -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=32)
    method = cls(bits=4, group=group)
    network = pruned(method, task)
    counts = method.counts(task.shapes)
    assert counts is not None
    held = [*network.parameters(), *(value for name, value in network.named_buffers() if "grid" in name)]
    assert sum(c.parameter_count for c in counts) == sum(value.numel() for value in held)
    expected = {"0": "its 27 inputs are no multiple of the group's 8"} if group else {}
    assert task.left_alone() == expected == {c.name: c.left_alone for c in counts if c.left_alone}


@pytest.mark.parametrize("cls", METHODS)
def test_grouped_convolutions_are_rounded_group_by_group(cls: type[Bits]) -> None:
    conv = nn.Conv2d(4, 6, 3, groups=2)
    task = fake_task(nn.Sequential(conv, nn.Flatten(), nn.Linear(96, 3)), (4, 6, 6), count=40, classes=3)
    network = pruned(cls(bits=5), task)
    torch.testing.assert_close(network[0].weight, conv.weight, atol=0.03, rtol=0)
    assert all(len(row.unique()) <= 32 for row in network[0].weight.flatten(1))


@pytest.mark.parametrize("cls", METHODS)
def test_eight_bits_change_next_to_nothing_and_two_bits_much(cls: type[Bits], trained: FakeTask) -> None:
    dense = accuracy(trained.network, trained)
    assert abs(accuracy(pruned(cls(bits=8), trained), trained) - dense) < 0.01
    assert accuracy(pruned(cls(bits=2), trained), trained) < dense + 0.006


def test_error_feedback_keeps_digits_that_rounding_loses(trained: FakeTask) -> None:
    nearest, fed_back = (accuracy(pruned(cls(bits=2, group=16), trained), trained) for cls in (RoundToNearest, GPTQ))
    assert fed_back > nearest


@pytest.mark.parametrize("cls", [RoundToNearest, GPTQ, AWQ])
def test_zeros_of_a_mask_stay_and_are_left_out_of_the_bytes(cls: type[Bits]) -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=100)
    sparse = pruned(SparseGPT(keep=0.3), task)
    after = fake_task(copy.deepcopy(sparse), (1, 8, 8), count=100)
    method = cls(bits=4)
    network = pruned(method, after)
    assert all(bool((network[i].weight[sparse[i].weight == 0] == 0).all()) for i in (1, 3, 5))
    found = method.storage(network)
    assert found["packed_bitmap"] < found["packed"] < found["dense"]


def test_a_method_that_moves_zeros_says_so() -> None:
    task = fake_task(pruned(SparseGPT(keep=0.3), fake_task(small_fcn(), (1, 8, 8), count=100)), (1, 8, 8), count=100)
    pruned(HQQ(bits=4), task)
    assert any("not kept zero by hqq" in note for note in task.notes)


def test_rounded_weights_do_not_train_and_biases_do() -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=100)
    network = pruned(RoundToNearest(bits=3), task)
    weight, bias = network[1].weight.clone(), network[1].bias.clone()
    task.fit(network, epochs=1)
    assert torch.equal(network[1].weight, weight) and not torch.equal(network[1].bias, bias)


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("size", [1e-7, 1.0, 1e7])
def test_rows_of_zeros_constants_and_extreme_sizes_stay_finite(cls: type[Bits], size: float) -> None:
    network = small_fcn()
    with torch.no_grad():
        network[1].weight.mul_(size)
        network[1].weight[0] = 0
        network[1].weight[1] = size
        network[1].weight[2] = -size
    task = fake_task(network, (1, 8, 8), count=100)
    task.calibration[:, :, 0] = 0
    found = pruned(cls(bits=6), task)[1].weight.detach()
    dense = network[1].weight.detach()
    assert bool((found[0] == 0).all())
    assert float((found - dense).norm() / dense.norm()) < 0.05


@pytest.mark.parametrize("symmetric", [False, True])
def test_no_weight_is_moved_more_than_half_a_step(symmetric: bool) -> None:
    weight = torch.tensor(weight_of())
    grid = fitted_grid(weight, 8, 4, symmetric=symmetric)
    steps = grid.scales.repeat_interleave(8, dim=1)
    error = (grid.values(grid.codes(weight)) - weight).abs()
    assert bool((error <= steps * (0.52 if symmetric else 1.02)).all()) and float((error / steps).mean()) < 0.3


@pytest.mark.parametrize("settings", [{"bits": 1}, {"bits": 9}, {"group": -1}])
def test_bits_and_groups_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    from prunebench.errors import PlanError
    from prunebench.plugins.parameters import complete, create

    with pytest.raises(PlanError, match=next(iter(settings))):
        create(RoundToNearest, complete(RoundToNearest, settings))


def test_an_order_by_size_without_known_scales_is_refused() -> None:
    with pytest.raises(ValueError, match="act_order needs static_groups"):
        GPTQ(static_groups=False).check()
