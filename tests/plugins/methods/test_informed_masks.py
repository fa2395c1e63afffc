"""Masks that look at inputs: each against a few lines of numpy, against the best weights on its mask, and bad input."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from fake_task import FakeTask, accuracy, assert_counts_hold, digits_task, fake_task, pruned, small_cnn, small_fcn
from numpy.typing import NDArray
from prunebench import Method, NotApplicable
from prunebench_methods.masks.alps import Alps
from prunebench_methods.masks.informed import InformedMask
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.masks.masked_refit import MaskedRefit
from prunebench_methods.masks.random_masks import Random
from prunebench_methods.masks.refit_math import Damped, _by_gradients, _exact
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.masks.wanda import Wanda
from prunebench_methods.shared.grams import Gram
from torch import Tensor, nn

Array = NDArray[np.float64]
METHODS: list[type[InformedMask]] = [Wanda, SparseGPT, Alps]
PATTERNS = [{"keep": 0.5, "pattern": "row"}, {"keep": 0.37, "pattern": "layer"}, {"pattern": "2:4"}, {"pattern": "4:8"}]
NAMES = {"wanda": Wanda, "sparsegpt": SparseGPT, "alps": Alps, "magnitude": Magnitude, "random": Random}


def correlated(rows: int = 400, inputs: int = 32, outlier: float = 30.0) -> Array:
    """Inputs that depend on each other, one a hundred times as large as the least."""
    generator = np.random.default_rng(0)
    mixed = generator.standard_normal((rows, inputs)) @ (
        np.eye(inputs) + 0.4 * generator.standard_normal((inputs,) * 2)
    )
    mixed[:, 5] *= outlier
    return mixed


def weight_of(rows: int = 12, inputs: int = 32) -> Array:
    return np.random.default_rng(1).standard_normal((rows, inputs))


def gram_of(inputs: Array) -> Gram:
    gram = Gram()
    gram.add(torch.tensor(inputs)[:, None])
    return gram


def masked_by(method: InformedMask, weight: Array, inputs: Array) -> Array:
    """What the method makes of a weight, in float64."""
    values, mask = method.weights(torch.tensor(weight), gram_of(inputs), 0)
    return torch.where(mask, values, 0).numpy()


def loss(new: Array, weight: Array, inputs: Array) -> float:
    return float(np.square(inputs @ (new - weight).T).sum())


def damped_loss(new: Array, weight: Array, inputs: Array, damp: float) -> float:
    second = inputs.T @ inputs
    second += damp * second.diagonal().mean() * np.eye(len(second))
    return float(((new - weight) @ second * (new - weight)).sum())


def plain_wanda(weight: Array, inputs: Array, keep: float) -> Array:
    scores = abs(weight) * np.linalg.norm(inputs, axis=0)
    result = weight.copy()
    for row, score in zip(result, scores, strict=True):
        row[np.argsort(score)[: len(score) - int(np.ceil(keep * len(score)))]] = 0
    return result


def plain_sparsegpt(weight: Array, inputs: Array, keep: float, block: int, damp: float) -> Array:
    """Optimal brain surgery from left to right, the inverse of what is left taken anew for every column."""
    second = inputs.T @ inputs / len(inputs)
    second += damp * second.diagonal().mean() * np.eye(len(second))
    work, kept = weight.copy(), 0
    for column in range(work.shape[1]):
        inverse = np.linalg.inv(second[column:, column:])
        if column % block == 0:
            ahead = range(column, min(column + block, work.shape[1]))
            scales = np.array([np.linalg.inv(second[i:, i:])[0, 0] for i in ahead])
            scores = work[:, ahead] ** 2 / scales
            due = int(np.ceil(keep * len(work) * (column + len(ahead)) - 1e-9)) - kept
            kept += due
            mask = np.zeros(scores.size, bool)
            mask[np.argsort(-scores, axis=None, kind="stable")[:due]] = True
            mask = mask.reshape(scores.shape)
        error = np.where(mask[:, column % block], 0, work[:, column]) / inverse[0, 0]
        work[:, column:] -= np.outer(error, inverse[0])
        work[:, column] = np.where(mask[:, column % block], work[:, column], 0)
    return work


def plain_refit(mask: NDArray[np.bool_], weight: Array, inputs: Array, damp: float) -> Array:
    """Least squares row by row, the damping as further rows of data."""
    extra = np.sqrt(damp * np.square(inputs).sum(0).mean()) * np.eye(weight.shape[1])
    data, result = np.vstack((inputs, extra)), np.zeros_like(weight)
    for row, kept, dense in zip(result, mask, weight, strict=True):
        row[kept] = np.linalg.lstsq(data[:, kept], data @ dense, rcond=None)[0]
    return result


def plain_alps(weight: Array, inputs: Array, keep: float, damp: float) -> NDArray[np.bool_]:
    """The mask, by a dense inverse in every round."""
    squares = np.square(inputs).mean(0)
    sizes = np.sqrt(squares + 0.01 * squares.mean())
    second = (inputs / sizes).T @ (inputs / sizes) / len(inputs)
    second += damp * second.diagonal().mean() * np.eye(len(second))
    dense, count = weight * sizes, int(np.ceil(keep * weight.size))

    def project(values: Array) -> Array:
        return np.where(abs(values) >= np.sort(abs(values), axis=None)[-count], values, 0)

    masked, difference, price, before = project(dense), np.zeros_like(dense), 0.1, project(dense) != 0
    for number in range(1, 301):
        inverse = np.linalg.inv(second + price * np.eye(len(second)))
        free = (dense @ second - difference + price * masked) @ inverse
        masked = project(free + difference / price)
        difference += price * (free - masked)
        if number % 3 == 0:
            exchanged = float(((masked != 0) ^ before).sum()) / count
            if exchanged == 0:
                break
            price, before = price * (1.3 if exchanged > 0.1 else 1.2 if exchanged > 0.005 else 1.1), masked != 0
    return masked != 0


def test_wanda_equals_its_definition() -> None:
    weight, inputs = weight_of(), correlated()
    np.testing.assert_allclose(masked_by(Wanda(keep=0.4), weight, inputs), plain_wanda(weight, inputs, 0.4))


@pytest.mark.parametrize(
    ("block", "inputs", "columns"), [(8, 400, 32), (32, 400, 32), (128, 400, 32), (8, 20, 32), (128, 400, 150)]
)
def test_sparsegpt_equals_surgery_with_explicit_inverses(block: int, inputs: int, columns: int) -> None:
    weight, data = weight_of(inputs=columns), correlated(inputs, columns)
    expected = plain_sparsegpt(weight, data, 0.4, block, 0.01)
    np.testing.assert_allclose(masked_by(SparseGPT(keep=0.4, block=block), weight, data), expected, atol=1e-7)


@pytest.mark.parametrize("row_count", [400, 20])
def test_refit_equals_least_squares(row_count: int) -> None:
    weight, inputs = weight_of(), correlated(row_count)
    mask = np.random.default_rng(2).random(weight.shape) < 0.4
    damped = Damped.of(gram_of(inputs), 0, 0.01)
    found = _exact(torch.tensor(weight), torch.tensor(mask), damped)
    np.testing.assert_allclose(found.numpy(), plain_refit(mask, weight, inputs, 0.01), atol=1e-8)


@pytest.mark.parametrize("row_count", [400, 20])
def test_conjugate_gradients_reach_the_exact_refit(row_count: int) -> None:
    weight, inputs = torch.tensor(weight_of()), correlated(row_count)
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    damped = Damped.of(gram_of(inputs), 0, 0.01)
    found = _by_gradients(weight, mask, damped, torch.where(mask, weight, 0))
    torch.testing.assert_close(found, _exact(weight, mask, damped), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("row_count", [400, 20])
def test_alps_chooses_the_mask_that_dense_inverses_choose(row_count: int) -> None:
    weight, inputs = weight_of(), correlated(row_count)
    found = masked_by(Alps(keep=0.4), weight, inputs) != 0
    assert np.array_equal(found, plain_alps(weight, inputs, 0.4, 0.01))


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("settings", PATTERNS)
@pytest.mark.parametrize("row_count", [400, 20])
def test_no_mask_is_below_the_refit_on_it(cls: type[InformedMask], settings: dict[str, Any], row_count: int) -> None:
    weight, inputs = weight_of(), correlated(row_count)
    new = masked_by(cls(**settings), weight, inputs)
    best = plain_refit(new != 0, weight, inputs, 0.01)
    assert damped_loss(new, weight, inputs, 0.01) >= damped_loss(best, weight, inputs, 0.01) * (1 - 1e-9)


def test_weights_made_good_lose_less_than_those_left_and_alternating_least() -> None:
    weight, inputs = weight_of(), correlated(outlier=3.0)
    losses = [loss(masked_by(cls(keep=0.5), weight, inputs), weight, inputs) for cls in (Alps, SparseGPT, Wanda)]
    small = np.where(abs(weight) >= np.median(abs(weight)), weight, 0)
    assert losses == sorted(losses) and losses[0] < 0.5 * losses[1]
    assert losses[2] < loss(small, weight, inputs)


@pytest.mark.parametrize("cls", METHODS)
def test_inputs_alike_and_independent_give_the_mask_of_magnitude(cls: type[InformedMask]) -> None:
    weight = weight_of()
    alike = np.linalg.qr(np.random.default_rng(3).standard_normal((64, 32)))[0] * 3
    found, expected = masked_by(cls(keep=0.5, pattern="row"), weight, alike), plain_wanda(weight, np.eye(32), 0.5)
    if cls is Alps:  # which exchanges weights of nearly one size
        assert loss(found, weight, alike) < 1.02 * loss(expected, weight, alike)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("settings", PATTERNS)
def test_exactly_the_pattern_survives(cls: type[InformedMask], settings: dict[str, Any]) -> None:
    new = masked_by(cls(**settings), weight_of(10, 32), correlated()) != 0
    if ":" in settings["pattern"]:
        kept, group = map(int, settings["pattern"].split(":"))
        assert (new.reshape(-1, group).sum(1) == kept).all()
    elif settings["pattern"] == "row":
        assert (new.sum(1) == 16).all()
    else:
        assert new.sum() == 119  # ceil(0.37 * 320), where blocks of their own would give more


def test_sparsegpt_over_many_blocks_removes_no_weight_too_many() -> None:
    weight, inputs = weight_of(7, 30), correlated(inputs=30)
    new = masked_by(SparseGPT(keep=0.5, block=4), weight, inputs)
    assert int((new != 0).sum()) == 105


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("settings", PATTERNS[:2])
def test_counts_hold_on_convolutions_and_linear_layers(cls: type[InformedMask], settings: dict[str, Any]) -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=32)
    network = pruned(cls(**settings), task)
    counts = assert_counts_hold(cls(**settings), task, network)
    assert sum(c.nonzero_parameter_count for c in counts) == sum(int(p.count_nonzero()) for p in network.parameters())


def test_groups_that_do_not_divide_leave_the_layer_alone_with_the_reason() -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=32)
    network = pruned(Wanda(pattern="2:4"), task)
    assert task.left_alone() == {"0": "its 27 inputs are no multiple of 4, as 2:4 needs"}
    assert int(network[3].weight.count_nonzero()) == network[3].weight.numel() // 2


def test_a_grouped_convolution_is_masked_group_by_group() -> None:
    conv = nn.Conv2d(4, 6, 3, groups=2)
    task = fake_task(nn.Sequential(conv, nn.Flatten(), nn.Linear(6 * 16, 3)), (4, 6, 6), count=40, classes=3)
    method = SparseGPT(keep=0.3)
    network = pruned(method, task)
    assert [int(half.count_nonzero()) for half in network[0].weight.chunk(2)] == [17, 17]  # ceil(0.3 * 54) each
    assert_counts_hold(method, task, network)


@pytest.mark.parametrize("cls", METHODS)
def test_dead_inputs_fewer_samples_and_outliers_give_finite_weights(cls: type[InformedMask]) -> None:
    inputs = correlated(10)
    inputs[:, [2, 7]] = 0
    inputs[:, 9] = inputs[:, 8]
    for size in (1.0, 1e4):
        inputs[:, 11] *= size
        new = masked_by(cls(keep=0.5, pattern="row"), weight_of(), inputs)
        assert np.isfinite(new).all() and abs(new).max() < 100 and ((new != 0).sum(1) == 16).all()


@pytest.mark.parametrize("cls", METHODS)
def test_a_layer_without_any_input_keeps_its_share_and_says_so(cls: type[InformedMask]) -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=40)
    task.calibration = torch.zeros_like(task.calibration)
    network = pruned(cls(keep=0.25), task)
    assert int(network[1].weight.count_nonzero()) == 768 and any("inputs are zero" in note for note in task.notes)


@pytest.mark.parametrize("cls", METHODS)
def test_masked_weights_keep_their_type(cls: type[InformedMask]) -> None:
    task = fake_task(small_fcn().bfloat16(), (1, 8, 8), count=40)
    network = pruned(cls(keep=0.5), task)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert bool(torch.isfinite(network(task.calibration)).all())


@pytest.mark.parametrize("cls", METHODS)
def test_statistics_do_not_depend_on_the_order_of_calibration_samples(cls: type[InformedMask]) -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=256)
    first = pruned(cls(keep=0.5), task)
    turned = fake_task(copy.deepcopy(task.network), (1, 8, 8), count=256)
    turned.calibration = turned.calibration.flip(0)
    second = pruned(cls(keep=0.5), turned)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    agree = [float(((a != 0) == (b != 0)).float().mean()) for a, b in pairs]
    assert min(agree) > 0.995


@pytest.mark.parametrize("of", ["wanda", "sparsegpt", "alps", "magnitude", "random"])
def test_the_refit_keeps_the_mask_of_the_other_method_and_loses_no_more(of: str) -> None:
    task = digits_task(small_fcn(), methods=NAMES, calibration_count=300)
    settings = {"keep": 0.3, "pattern": "layer"} if of in ("wanda", "sparsegpt", "alps") else {"keep": 0.3}
    other, method = NAMES[of](**settings), MaskedRefit(of=of, keep=0.3, pattern="layer")
    task.generator.manual_seed(5)
    before = pruned(other, task)
    task.generator.manual_seed(5)
    after = pruned(method, task)
    inputs, dense = task.calibration.flatten(1).double().numpy(), task.network[1].weight.detach().double().numpy()
    values = [network[1].weight.detach().double().numpy() for network in (before, after)]
    assert np.array_equal(values[0] != 0, values[1] != 0)
    losses = [damped_loss(value, dense, inputs, 0.01) for value in values]
    assert losses[1] <= losses[0] * (1 + 1e-5)
    assert_counts_hold(method, task, after)


def test_a_network_that_knows_its_digits_loses_less_by_better_masks(trained: FakeTask) -> None:
    methods = (Magnitude(keep=0.2), SparseGPT(keep=0.2), Alps(keep=0.2))
    magnitude, surgery, alternated = (accuracy(pruned(method, trained), trained) for method in methods)
    dense = accuracy(trained.network, trained)
    assert alternated > dense - 0.05 and alternated > magnitude + 0.1 and alternated > surgery + 0.1
    third = [accuracy(pruned(method, trained), trained) for method in (SparseGPT(keep=0.3), Magnitude(keep=0.3))]
    assert third[0] > third[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs `keep`"),
        ({"keep": 0.5, "pattern": "2:4"}, "leave `keep` out"),
        ({"pattern": "5:4"}, "1 <= n <= m"),
        ({"pattern": "0:4"}, "1 <= n <= m"),
        ({"keep": 0.5, "pattern": "column"}, 'pattern must be "row"'),
    ],
)
@pytest.mark.parametrize("cls", [*METHODS, MaskedRefit])
def test_patterns_that_make_no_sense_are_refused_when_planned(
    cls: type[Method], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        cls(**settings).check()


def test_a_block_that_cuts_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="block 6 must be a multiple of 4"):
        SparseGPT(pattern="2:4", block=6).check()


def test_a_refit_on_a_pattern_that_the_other_method_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="magnitude has no pattern 2:4"):
        MaskedRefit(of="magnitude", pattern="2:4").check()


def test_a_method_that_replaces_layers_leaves_no_mask() -> None:
    from prunebench_methods.low_rank.low_rank import RohlicekSvd

    task = fake_task(small_fcn(), (1, 8, 8), count=40, methods={"svd": RohlicekSvd})
    with pytest.raises(NotApplicable, match="svd does not mask 1 but replaces it"):
        pruned(MaskedRefit(of="svd", keep=0.5), task)


def scaled_loss(scale: str) -> float:
    weight, inputs = weight_of(), correlated(outlier=300.0)
    return loss(masked_by(SparseGPT(keep=0.5, scale=scale), weight, inputs), weight, inputs)


def test_inputs_of_one_size_are_kinder_beside_an_outlier() -> None:
    assert scaled_loss("jacobi") < scaled_loss("mean")


def test_the_damping_of_zero_inputs_is_the_identity() -> None:
    damped = Damped.of(gram_of(np.zeros((40, 8))), 0, 0.01)
    assert torch.equal(damped.matrix(), torch.eye(8, dtype=torch.float64))
    same: Tensor = damped.times(torch.ones(2, 8))
    assert torch.equal(same, torch.ones(2, 8))
