"""Low rank from data: losses equal the tail, inverses agree, both forms are the same product, one budget is kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from fake_task import FakeTask, accuracy, assert_counts_hold, fake_task, mac_count, pruned, small_cnn, small_fcn
from numpy.typing import NDArray
from prunebench import LayerShape, NotApplicable
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.forms import rank_for, weights_at
from prunebench_methods.low_rank.informed import InformedProduct
from prunebench_methods.low_rank.low_rank import LowRank
from prunebench_methods.low_rank.pivots import Elimination, Pivoted, pivot_layers, pivot_rows
from prunebench_methods.low_rank.shares import shared_parameters
from prunebench_methods.low_rank.two_sided import TwoSidedLowRank
from prunebench_methods.low_rank.whitened import Asvd, FisherSvd, WhitenedSvd
from prunebench_methods.shared.grams import Gram
from prunebench_methods.shared.importance import ALIKE, Importance
from torch import nn

Array = NDArray[np.float64]
UNIFORM: dict[type[InformedProduct], dict[str, Any]] = {
    WhitenedSvd: {},
    Asvd: {},
    FisherSvd: {},
    TwoSidedLowRank: {"allocation": "uniform"},
}


def inputs_of(rows: int = 400, inputs: int = 24, seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    mixing = np.eye(inputs) + 0.5 * generator.standard_normal((inputs, inputs))
    return generator.standard_normal((rows, inputs)) @ mixing * np.logspace(-1, 1, inputs) + 2


def weight_of(rows: int, inputs: int = 24) -> Array:
    return np.random.default_rng(1).standard_normal((rows, inputs))


def gram_of(inputs: Array) -> Gram:
    gram = Gram()
    gram.add(torch.tensor(inputs)[:, None])
    return gram


def importance_of(gradients: Array, damping: float) -> Importance:
    values, vectors = np.linalg.eigh(gradients.T @ gradients / len(gradients))
    return Importance(torch.tensor(vectors), torch.tensor(values.clip(0)), damping * float(values.mean()))


def cut(method: InformedProduct, weight: Array, inputs: Array, rank: int, importance: Importance = ALIKE) -> Array:
    product = method.product(torch.tensor(weight), gram_of(inputs), importance)
    left, right = product.cut(rank, torch.tensor(weight))
    return (left @ right).numpy()


def plain_whitened(weight: Array, inputs: Array, rank: int) -> Array:
    """As printed: Cholesky of the Gram matrix, singular values cut, triangle undone."""
    root = np.linalg.cholesky(inputs.T @ inputs)
    left, values, right = np.linalg.svd(weight @ root, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank] @ np.linalg.inv(root)


def plain_two_sided(weight: Array, inputs: Array, gradients: Array, rank: int, damping: float) -> Array:
    """Both roots by Cholesky."""
    second = gradients.T @ gradients / len(gradients)
    outer = np.linalg.cholesky(second + damping * second.diagonal().mean() * np.eye(len(second)))
    inner = np.linalg.cholesky(np.cov(inputs.T, bias=True))
    left, values, right = np.linalg.svd(outer.T @ weight @ inner, full_matrices=False)
    return np.linalg.inv(outer.T) @ (left[:, :rank] * values[:rank]) @ right[:rank] @ np.linalg.inv(inner)


@pytest.mark.parametrize("rows", [10, 40])
@pytest.mark.parametrize("rank", [1, 5, 9])
def test_whitening_without_an_inverse_is_whitening_by_cholesky(rows: int, rank: int) -> None:
    weight, inputs = weight_of(rows), inputs_of()
    found = cut(WhitenedSvd(rank=rank, centred=False), weight, inputs, rank)
    np.testing.assert_allclose(found, plain_whitened(weight, inputs, rank), atol=1e-7)


@pytest.mark.parametrize("rows", [10, 40])
def test_two_sided_is_truncation_between_two_roots(rows: int) -> None:
    weight, inputs = weight_of(rows), inputs_of()
    gradients = np.random.default_rng(4).standard_normal((200, rows)) * np.logspace(-1, 1, rows)
    found = cut(TwoSidedLowRank(rank=4), weight, inputs, 4, importance_of(gradients, 0.01))
    np.testing.assert_allclose(found, plain_two_sided(weight, inputs, gradients, 4, 0.01), atol=1e-6)


@pytest.mark.parametrize("row_count", [400, 15])
@pytest.mark.parametrize("rows", [10, 40])
@pytest.mark.parametrize("centred", [False, True])
def test_the_loss_is_exactly_the_tail_of_the_energies(rows: int, row_count: int, centred: bool) -> None:
    weight, inputs = weight_of(rows), inputs_of(row_count)
    method = WhitenedSvd(rank=3, centred=centred)
    product = method.product(torch.tensor(weight), gram_of(inputs), ALIKE)
    seen = inputs - inputs.mean(0) if centred else inputs
    for rank in (1, 3, 8):
        lost = np.square(seen @ (cut(method, weight, inputs, rank) - weight).T).sum() / row_count
        np.testing.assert_allclose(lost, float(product.energies[rank:].sum()), rtol=1e-8)
    np.testing.assert_allclose(np.square(seen @ weight.T).sum() / row_count, product.total, rtol=1e-8)


def test_the_loss_in_units_of_outputs_is_the_tail_too() -> None:
    weight, inputs = weight_of(10), inputs_of()
    gradients = np.random.default_rng(4).standard_normal((200, 10)) * np.logspace(-1, 1, 10)
    metric = importance_of(gradients, 0.01)
    product = TwoSidedLowRank(rank=3).product(torch.tensor(weight), gram_of(inputs), metric)
    change = cut(TwoSidedLowRank(rank=3), weight, inputs, 3, metric) - weight
    second = metric.times(torch.eye(10, dtype=torch.float64), 1.0).numpy()
    lost = np.trace(second @ change @ np.cov(inputs.T, bias=True) @ change.T)
    np.testing.assert_allclose(lost, float(product.energies[3:].sum()), rtol=1e-8)


def test_repairing_the_mean_is_never_worse_than_leaving_it() -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=300)
    with torch.no_grad():
        dense = task.network[1](task.calibration.flatten(1))
    losses = {}
    for centred in (False, True):
        network = pruned(WhitenedSvd(rank=6, centred=centred), task)
        with torch.no_grad():
            losses[centred] = float((network[1](task.calibration.flatten(1)) - dense).square().sum())
    assert losses[True] < losses[False]
    settings = {"rank": 6, "asymmetric": False, "importance": "alike", "round_to": 1, "skip_last": False}
    other = pruned(DataAwareLowRank(**settings), task)
    with torch.no_grad():
        torch.testing.assert_close(other(task.calibration), pruned(WhitenedSvd(rank=6), task)(task.calibration))


def test_asvd_and_fisher_equal_their_scaled_decompositions() -> None:
    weight, inputs = weight_of(10), inputs_of()
    sizes = np.sqrt(np.square(inputs).mean(0)) ** 0.5 + 1e-6
    left, values, right = np.linalg.svd(weight * sizes, full_matrices=False)
    expected = (left[:, :4] * values[:4]) @ right[:4] / sizes
    np.testing.assert_allclose(cut(Asvd(rank=4), weight, inputs, 4), expected, atol=1e-9)
    gradients = np.random.default_rng(4).standard_normal((200, 10)) * np.logspace(-1, 1, 10)
    rows = np.sqrt(np.square(gradients).mean(0) + 0.1 * np.square(gradients).mean())[:, None]
    left, values, right = np.linalg.svd(rows * weight, full_matrices=False)
    expected = (left[:, :4] * values[:4]) @ right[:4] / rows
    found = cut(FisherSvd(rank=4), weight, inputs, 4, importance_of(gradients, 0.1))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_what_knows_more_of_the_inputs_loses_less() -> None:
    weight, inputs = weight_of(20), inputs_of()
    left, values, right = np.linalg.svd(weight)
    plain = (left[:, :5] * values[:5]) @ right[:5]
    found = [cut(WhitenedSvd(rank=5, centred=False), weight, inputs, 5), cut(Asvd(rank=5), weight, inputs, 5), plain]
    losses = [np.square(inputs @ (new - weight).T).sum() for new in found]
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize(("rows", "rank"), [(30, 7), (12, 11), (200, 40), (5, 1)])
def test_pivot_rows_make_the_others_with_small_coefficients(rows: int, rank: int) -> None:
    left = torch.randn(rows, rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order, others = pivot_rows(left)
    assert sorted(order.tolist()) == list(range(rows)) and others.shape == (rows - rank, rank)
    torch.testing.assert_close(others @ left[order[:rank]], left[order[rank:]])
    assert float(others.abs().max()) <= 10


def test_rows_are_exchanged_where_elimination_leaves_large_coefficients() -> None:
    left = torch.eye(9, 8, dtype=torch.float64) - torch.ones(9, 8, dtype=torch.float64).tril(-1)  # doubles at each step
    assert float(Elimination.of(left).rows(8)[1].abs().max()) == 128
    order, others = pivot_rows(left)
    torch.testing.assert_close(others @ left[order[:8]], left[order[8:]])
    assert float(others.abs().max()) <= 10


def test_one_elimination_serves_every_rank() -> None:
    left = torch.randn(24, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = Elimination.of(left)
    for rank in range(1, 16):
        lengths = torch.arange(1, rank + 1, dtype=torch.float64)
        order, others = pivot_rows(left[:, :rank] * lengths, whole)
        own, by_itself = pivot_rows(left[:, :rank])
        assert torch.equal(order[:rank], own[:rank])
        torch.testing.assert_close(others @ left[order[:rank], :rank], left[order[rank:], :rank])
        torch.testing.assert_close(others[order[rank:].argsort()], by_itself[own[rank:].argsort()])


def test_one_task_eliminates_once_for_all_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Size] = []
    whole = Elimination.of
    monkeypatch.setattr(Elimination, "of", lambda left: made.append(left.shape) or whole(left))
    task = fake_task(small_fcn(), (1, 8, 8), count=100)
    for rank in (3, 6, 7):  # factors of rank 8 would leave the last layer alone
        some, fewer = (pruned(WhitenedSvd(rank=rank, form=form), task) for form in ("factors", "pivot"))
        with torch.no_grad():
            torch.testing.assert_close(fewer(task.calibration), some(task.calibration), rtol=1e-3, atol=1e-4)
    pivoted = [module for module in fewer.modules() if isinstance(module, Pivoted)]
    assert len(made) == len(pivoted) > 1


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(14, 12),
        nn.Conv2d(3, 12, 3, stride=2, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 12, (1, 3), padding="same", dilation=(1, 2)),
    ],
)
def test_both_forms_are_the_same_product(layer: nn.Linear | nn.Conv2d, bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(12, 4, generator=generator), torch.randn(4, layer.weight[0].numel(), generator=generator)
    added = torch.randn(12, generator=generator) if bias else None
    pivoted = pivot_layers(layer, left.double(), right.double(), None if added is None else added.double())
    assert isinstance(pivoted, Pivoted)
    shape = (5, 14) if isinstance(layer, nn.Linear) else (5, 3, 9, 8)
    x = torch.randn(shape, generator=generator)
    with torch.no_grad():
        layer.weight.copy_((left @ right).reshape(layer.weight.shape))
        layer.bias.copy_(torch.zeros(12) if added is None else added)
        torch.testing.assert_close(pivoted(x), layer(x), rtol=1e-4, atol=1e-4)
        assert torch.equal(pivoted(input=x), pivoted(x))  # as torch's own layers are called by keyword
    weights = sum(p.numel() for name, p in pivoted.named_parameters() if "weight" in name)
    assert weights == 4 * (12 + layer.weight[0].numel() - 4)


@pytest.mark.parametrize("form", ["factors", "pivot"])
@pytest.mark.parametrize("keep", [0.05, 0.3, 0.5, 0.8, 0.999, 1.0])
@pytest.mark.parametrize(("rows", "columns"), [(7, 5), (48, 64), (576, 576), (1536, 576), (10, 32)])
def test_the_rank_for_a_share_is_the_largest_that_fits(form: str, keep: float, rows: int, columns: int) -> None:
    shape = LayerShape("x", "linear", rows, columns)
    rank = rank_for(shape, keep, form)
    held = [weights_at(shape, r, form) for r in range(min(rows, columns) + 1)]
    assert rank == max(r for r, weights in enumerate(held) if weights <= math.floor(keep * rows * columns + 1e-9))


def test_ranks_of_the_published_measurement() -> None:
    square, tall = LayerShape("q", "linear", 576, 576), LayerShape("up", "linear", 1536, 576)
    assert [rank_for(s, 0.8, "factors") for s in (square, tall)] == [230, 335]
    assert [rank_for(s, 0.8, "pivot") for s in (square, tall)] == [318, 417]


@pytest.mark.parametrize("cls", UNIFORM)
@pytest.mark.parametrize("form", ["factors", "pivot"])
def test_counts_hold_in_both_forms(cls: type[InformedProduct], form: str) -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=40)
    method = cls(keep=0.5, form=form, **UNIFORM[cls])
    network = pruned(method, task)
    counts = assert_counts_hold(method, task, network)
    for count, shape in zip(counts, task.shapes, strict=True):
        bias = shape.out_channels if shape.bias or method.is_centred else 0
        assert count.parameter_count - bias <= 0.5 * shape.weight_count
    assert mac_count(network, task.example_input) == sum(count.mac_count for count in counts)


@pytest.mark.parametrize("cls", UNIFORM)
@pytest.mark.parametrize("form", ["factors", "pivot"])
@pytest.mark.parametrize("samples", [200, 12])
def test_at_full_rank_the_layer_comes_back(cls: type[InformedProduct], form: str, samples: int) -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=samples, classes=10)
    network = pruned(cls(rank=10**6, form=form, even_if_larger=True, **UNIFORM[cls]), task)
    with torch.no_grad():
        torch.testing.assert_close(network(task.calibration), task.network(task.calibration), rtol=1e-3, atol=1e-4)
        other = torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(5))
        torch.testing.assert_close(network(other), task.network(other), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cls", UNIFORM)
@pytest.mark.parametrize("form", ["factors", "pivot"])
def test_dead_dependent_and_outlying_inputs_give_finite_products(cls: type[InformedProduct], form: str) -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=20)
    task.calibration[:, :, 0] = 0
    task.calibration[:, :, 1] = task.calibration[:, :, 2]
    task.calibration[:, :, 3, 3] *= 1e4
    network = pruned(cls(keep=0.4, form=form, **UNIFORM[cls]), task)
    assert all(bool(torch.isfinite(p).all()) and float(p.detach().abs().max()) < 1e4 for p in network.parameters())
    task.kept.clear()
    task.calibration = torch.zeros_like(task.calibration)
    network = pruned(cls(keep=0.4, form=form, **UNIFORM[cls]), task)
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())


@pytest.mark.parametrize("cls", UNIFORM)
def test_products_keep_the_type_of_the_network(cls: type[InformedProduct]) -> None:
    task = fake_task(small_fcn().bfloat16(), (1, 8, 8), count=100)
    network = pruned(cls(keep=0.6, form="pivot", **UNIFORM[cls]), task)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        assert network(task.calibration).dtype == torch.bfloat16


def test_a_shared_budget_is_kept_and_spent() -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=100)
    for form in ("factors", "pivot"):
        network = pruned(TwoSidedLowRank(keep=0.5, form=form), task)
        held = sum(p.numel() for name, p in network.named_parameters() if "weight" in name)
        dense = sum(shape.weight_count for shape in task.shapes)
        assert 0.47 * dense < held <= 0.5 * dense


def test_a_budget_goes_where_a_weight_is_worth_most_whatever_the_unit() -> None:
    shapes = [LayerShape("a", "linear", 64, 64), LayerShape("b", "linear", 64, 64)]
    spectra = {"a": [100.0 * 0.8**i for i in range(64)], "b": [1.0 * 0.8**i for i in range(64)]}
    ranks = shared_parameters(shapes, spectra, 0.5, "factors")
    assert (ranks["a"] or 64) > (ranks["b"] or 64)
    scaled = {name: [1e-9 * value for value in values] for name, values in spectra.items()}
    assert shared_parameters(shapes, scaled, 0.5, "factors") == ranks
    best = min(
        (sum(spectra["a"][i:]) + sum(spectra["b"][j:]), i, j)
        for i in range(2, 33, 2)
        for j in range(2, 33, 2)
        if (i + j) * 128 <= 4096
    )
    assert (ranks["a"], ranks["b"]) == best[1:]
    with pytest.raises(NotApplicable, match=r"keep 0\.001 is out of reach"):
        shared_parameters(shapes, spectra, 0.001, "factors")


def test_a_network_that_knows_its_digits_loses_least_by_two_sides(trained: FakeTask) -> None:
    methods = (LowRank(rank=5), WhitenedSvd(rank=5), WhitenedSvd(keep=0.25), TwoSidedLowRank(keep=0.25))
    plain, whitened, share, shared = (accuracy(pruned(method, trained), trained) for method in methods)
    assert whitened > plain
    assert shared > share + 0.1 and shared > accuracy(trained.network, trained) - 0.05


def test_further_ranks_decompose_nothing_anew() -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=100)
    pruned(TwoSidedLowRank(keep=0.5), task)
    before = len(task.computed)
    pruned(TwoSidedLowRank(keep=0.3, form="factors"), task)
    assert len(task.computed) == before


def test_layers_that_a_share_cannot_shrink_are_left_alone() -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=60)
    pruned(WhitenedSvd(rank=20), task)
    assert task.left_alone()["5"] == "rank 10 saves nothing here: 420 weights for 320"
    assert set(task.left_alone()) == {"3", "5"} and "saves nothing" in task.left_alone()["3"]
    pruned(WhitenedSvd(keep=0.1), task)
    assert task.left_alone()["5"] == "even rank 1 has more weights than the share allows"


@pytest.mark.parametrize("settings", [{}, {"keep": 0.5, "rank": 3}])
@pytest.mark.parametrize("cls", UNIFORM)
def test_exactly_one_way_to_the_rank_is_asked_for(cls: type[InformedProduct], settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give exactly one of keep, rank"):
        cls(**settings).check()


def test_a_shared_budget_needs_a_share() -> None:
    with pytest.raises(ValueError, match='allocation "global" needs `keep`'):
        TwoSidedLowRank(rank=4).check()


def test_the_product_of_a_convolution_answers_the_mean_of_its_patches() -> None:
    layer = nn.Conv2d(2, 6, 3, padding=1)
    task = fake_task(nn.Sequential(layer, nn.Flatten(), nn.Linear(6 * 64, 3)), (2, 8, 8), count=60, classes=3)
    network = pruned(WhitenedSvd(rank=2, section="conv"), task)
    with torch.no_grad():
        before, after = layer(task.calibration), network[0](task.calibration)
    torch.testing.assert_close(after.mean((0, 2, 3)), before.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
