"""k-means weight sharing and product quantization: optimal steps, exact codebooks, zeros that stay, bytes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from fake_task import FakeTask, assert_counts_hold, fake_task, pruned, small_cnn, small_fcn
from hypothesis import given, settings
from hypothesis import strategies as st
from prunebench import Method, NotApplicable
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.quantization.dictionaries import column_groups
from prunebench_methods.quantization.kmeans import KMeans
from prunebench_methods.quantization.product_quantization import ProductQuantization, quantized_byte_count
from prunebench_methods.quantization.sharing import Codebook, shared
from prunebench_methods.shared.clustering import centres_of_numbers, clustered_vectors, nearest, nearest_vectors
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

STARTS = ("linear", "density", "random")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task_of(
    network: nn.Module, shape: tuple[int, int, int] = (3, 12, 12), *, trains: bool = False, **options: Any
) -> FakeTask:
    task = fake_task(network, shape, **options)
    if not trains:
        task.fit = lambda network, **recipe: ()  # type: ignore[method-assign]
    return task


def loss(network: nn.Module, task: FakeTask) -> float:
    with torch.no_grad():
        return float(functional.cross_entropy(network(task.train.images), task.train.labels))


def distinct(weight: Tensor) -> int:
    return len(weight.detach().unique())


@pytest.mark.parametrize("start", STARTS)
def test_no_number_is_nearer_to_another_centre_and_every_centre_is_a_mean(start: str) -> None:
    values = torch.randn(3000, generator=generator()).sort().values
    centres = centres_of_numbers(values, 16, start, generator())
    codes = nearest(values, centres)
    assert torch.equal(codes, (values.double().unsqueeze(1) - centres).abs().argmin(1))
    means = torch.stack([values[codes == i].double().mean() for i in range(16)])
    torch.testing.assert_close(centres, means, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=30), st.integers(1, 45), st.sampled_from(STARTS))
def test_as_many_clusters_as_values_reproduce_them(numbers: list[int], clusters: int, start: str) -> None:
    values = torch.tensor(numbers).float().sort().values
    centres = centres_of_numbers(values, clusters, start, generator())
    assert len(centres) <= clusters and bool((centres.diff() >= 0).all())
    if clusters >= len(values.unique()):
        assert torch.equal(centres[nearest(values, centres)].float(), values)


def test_linear_places_the_first_centres_evenly() -> None:
    values = torch.cat([torch.zeros(50), torch.tensor([9.0]), torch.ones(50) * 10])
    assert centres_of_numbers(values, 2, "linear", generator()).tolist() == [0, (9 + 500) / 51]


def test_no_centre_is_wasted_on_the_gap_that_a_mask_leaves() -> None:
    values = torch.cat([torch.linspace(-1, -0.9, 50), torch.linspace(0.9, 1, 50)])
    centres = centres_of_numbers(values, 8, "linear", generator())
    assert len(nearest(values, centres).unique()) == 8


def test_more_clusters_lose_less() -> None:
    weight = torch.randn(64, 64, generator=generator())
    ordered = weight.flatten().sort().values
    errors = []
    for clusters in (1, 2, 4, 8, 16, 32, 64):
        book = shared(weight, clusters, "linear", ordered, generator())
        errors.append(float((book(book.right_inverse(weight)) - weight).norm()))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("clusters", [1, 4, 32])
def test_a_layer_has_so_many_values(start: str, clusters: int) -> None:
    task = task_of(small_cnn())
    network = pruned(KMeans(clusters=clusters, start=start), task)
    for i in (0, 3, 6, 8):
        assert distinct(network[i].weight) <= clusters < distinct(task.network[i].weight)
        assert not parametrize.is_parametrized(network[i])
    assert_counts_hold(KMeans(clusters=clusters, start=start), task, network)


@pytest.mark.parametrize("trains", [False, True])
def test_zeros_stay_zero_and_are_no_cluster(trains: bool) -> None:
    task = task_of(small_cnn(), trains=trains)
    sparse = Magnitude(keep=0.2).prune(copy.deepcopy(task.network), task)
    network = KMeans(clusters=4).prune(copy.deepcopy(sparse), task)
    for i in (0, 3, 6, 8):
        assert torch.equal(network[i].weight == 0, sparse[i].weight == 0)
        assert distinct(network[i].weight) == 5


def test_fine_tuning_moves_values_but_shares_them_still() -> None:
    task, still = task_of(small_cnn(), trains=True), task_of(small_cnn())
    trained, plain = pruned(KMeans(clusters=8), task), pruned(KMeans(clusters=8), still)
    assert distinct(trained[6].weight) <= 8
    assert not torch.equal(trained[6].weight, plain[6].weight)
    book = dict(zip(plain[6].weight.flatten().tolist(), trained[6].weight.flatten().tolist(), strict=True))
    assert torch.equal(plain[6].weight.detach().clone().apply_(book.__getitem__), trained[6].weight)
    assert loss(trained, task) < loss(plain, task)


def test_the_gradient_of_a_value_is_the_sum_over_its_weights() -> None:
    codes = torch.tensor([[0, 1, 2], [2, 2, 1]])
    values = torch.tensor([0.5, -1.0], requires_grad=True)
    gradient = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    weight = Codebook(codes, values)(values)
    weight.backward(gradient)
    assert weight.tolist() == [[0, 0.5, -1], [-1, -1, 0.5]]
    assert values.grad is not None and values.grad.tolist() == [8, 12]


def test_a_weight_takes_the_bits_of_its_code_and_a_layer_its_codebook() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 50, bias=False))
    nn.init.normal_(network[1].weight, generator=generator())
    formats = KMeans(clusters=16).storage(pruned(KMeans(clusters=16), task_of(network, (1, 8, 8), count=100)))
    assert formats["codebook"] == 8 + 80 + 64 * 50 * 4 // 8 + 16 * 4
    assert formats["huffman"] < formats["codebook"] < formats["dense"]


@pytest.mark.parametrize("first", [Magnitude(keep=0.3), KMeans(clusters=4)])
def test_masks_and_sharing_work_in_both_orders(first: Method) -> None:
    second = KMeans(clusters=4) if isinstance(first, Magnitude) else Magnitude(keep=0.3)
    task = task_of(small_cnn())
    network = second.prune(pruned(first, task), task)
    formats = second.storage(network)
    for i in (0, 3, 6, 8):
        assert distinct(network[i].weight) <= 5
        assert int(network[i].weight.count_nonzero()) == -(-3 * network[i].weight.numel() // 10)
    assert formats["huffman"] < formats["relative"] < formats["dense"]


def test_a_weight_of_zeros_stays_one() -> None:
    network = small_fcn()
    nn.init.zeros_(network[3].weight)
    assert not bool(pruned(KMeans(), task_of(network, (1, 8, 8)))[3].weight.any())


@pytest.mark.parametrize("method", [KMeans(clusters=4), ProductQuantization(clusters=4, section="all")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_keep_their_type(method: Method, dtype: torch.dtype) -> None:
    network = pruned(method, task_of(small_cnn().to(dtype)))
    assert {p.dtype for p in network.parameters()} == {dtype}
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("method", [KMeans(clusters=4, start="random"), ProductQuantization(clusters=4)])
def test_the_seed_decides_the_centres(method: Method) -> None:
    def weight(seed: int) -> Tensor:
        return pruned(method, task_of(small_cnn(), seed=seed))[6].weight

    assert torch.equal(weight(1), weight(1)) and not torch.equal(weight(1), weight(2))


@pytest.mark.parametrize("method", [KMeans(), ProductQuantization()])
def test_weights_that_are_not_finite_are_declined(method: Method) -> None:
    network = small_cnn()
    with torch.no_grad():
        network[6].weight[0, 0] = float("nan")
    with pytest.raises(NotApplicable, match="'6' holds values that are not finite"):
        pruned(method, task_of(network))


def test_a_sweep_sorts_the_weights_once() -> None:
    task = task_of(small_cnn())
    for clusters in (2, 4, 8):
        pruned(KMeans(clusters=clusters), task)
    assert len(task.computed) == 4


def test_no_vector_is_nearer_to_another_entry_and_every_entry_is_a_mean() -> None:
    points = torch.randn(3, 200, 2, generator=generator())
    centres, codes = clustered_vectors(points, 5, generator(), steps=500)
    distances = torch.cdist(points.double(), centres.double())
    assert torch.equal(codes, distances.argmin(-1)) and torch.equal(codes, nearest_vectors(points, centres))
    means = torch.stack([torch.stack([points[g][codes[g] == i].mean(0) for i in range(5)]) for g in range(3)])
    torch.testing.assert_close(centres, means)


@pytest.mark.parametrize("width", [1, 2, 3, 7, 100])
def test_groups_of_columns_cover_every_column_once(width: int) -> None:
    weight = torch.arange(4 * 6 * 3).view(4, 6, 3).float()
    groups = column_groups(weight, width)
    assert groups.shape == (-(-18 // width), 4, width)
    assert torch.equal(groups.transpose(0, 1).flatten(1)[:, :18].view(4, 6, 3), weight)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_rows_of_every_group_come_from_so_many_entries(width: int) -> None:
    task = task_of(small_cnn())
    network = pruned(ProductQuantization(clusters=6, width=width), task)
    groups = column_groups(network[6].weight.detach(), width)
    assert all(len(group.unique(dim=0)) <= 6 for group in groups)
    assert torch.equal(network[0].weight, task.network[0].weight)
    assert_counts_hold(ProductQuantization(clusters=6, width=width), task, network)


def test_repeated_rows_are_reproduced() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 30))
    with torch.no_grad():
        network[1].weight[3:] = network[1].weight[:3].repeat(9, 1)
    weights = [
        pruned(ProductQuantization(clusters=12, width=64), task_of(network, (1, 8, 8), seed=s))[1].weight
        for s in range(5)
    ]
    assert any(torch.allclose(weight, network[1].weight) for weight in weights)


def test_the_bytes_are_those_of_codes_and_dictionaries() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 50, bias=False))
    method = ProductQuantization(clusters=8, width=4)
    formats = method.storage(pruned(method, task_of(network, (1, 8, 8), count=100)))
    assert quantized_byte_count(50, 64, 4, 8) == 16 * 50 * 3 // 8 + 4 * 8 * 64
    assert formats["codebook"] == formats["dense"] - 4 * 50 * 64 + quantized_byte_count(50, 64, 4, 8)
    assert "codebook" not in method.storage(network)


def test_layers_that_dictionaries_do_not_shrink_are_left_alone() -> None:
    task = task_of(small_cnn())
    pruned(ProductQuantization(clusters=16, width=2), task)
    assert task.left_alone()["8"] == "16 clusters save nothing for 10 rows"
    assert task.left_alone()["0"] == "not in section 'fc'"
    assert "6" not in task.left_alone()
    with pytest.raises(NotApplicable, match="save nothing"):
        pruned(ProductQuantization(clusters=40), task)


def test_zeros_that_are_lost_are_noted() -> None:
    task = task_of(small_cnn())
    network = Magnitude(keep=0.5, section="fc").prune(copy.deepcopy(task.network), task)
    ProductQuantization(clusters=4).prune(network, task)
    assert any("not kept zero" in note for note in task.notes)
