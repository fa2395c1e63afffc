"""Selection, replacement and linear algebra that all factorizing methods share."""

from __future__ import annotations

import pytest
import torch
from fake_task import fake_task, small_cnn
from prunebench import LayerShape, NotApplicable
from prunebench_methods.shared.numerics import gram_of_columns, strips, svd, times_symmetric, times_triangle
from prunebench_methods.shared.replace import linear_and_conv_layers, replace_module, select_layers
from prunebench_methods.shared.selection import break_even, refusal, refusals, rounded_up
from torch import nn


def test_transposed_convolutions_and_repeated_modules_are_not_listed_twice() -> None:
    layer = nn.Linear(4, 4)
    network = nn.Sequential(nn.ConvTranspose2d(1, 2, 3), nn.Conv2d(2, 2, 1), layer, layer)
    assert list(linear_and_conv_layers(network)) == ["1", "2"]


def test_a_replaced_module_leaves_its_hooks_and_its_mode_to_the_new_one() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).eval()
    seen: list[torch.Size] = []
    network[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    replace_module(network, "0", nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3)))
    network(torch.zeros(5, 3))
    assert seen == [torch.Size([5, 3])]
    assert not network[0].training and not network[0][1].training


def test_a_module_registered_under_two_names_is_replaced_under_both() -> None:
    network = nn.Module()
    network.first = network.second = nn.Linear(2, 2)
    new = nn.Identity()
    replace_module(network, "first", new)
    assert network.first is new and network.second is new


def test_a_network_that_is_the_layer_itself_is_replaced_whole() -> None:
    new = nn.Identity()
    assert replace_module(nn.Linear(2, 2), "", new) is new


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (50, 45), (530, 520), (7, 7), (30, 1), (1, 30)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_route_to_the_svd_gives_the_same_values_and_the_matrix_back(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    found = svd(matrix)
    torch.testing.assert_close(found.values, torch.linalg.svdvals(matrix), rtol=1e-4, atol=1e-4)
    left, right = found.factors(min(shape))
    torch.testing.assert_close(left @ right, matrix, rtol=1e-4, atol=1e-4)
    assert found.left.dtype == dtype


def test_the_gram_route_is_near_optimal_on_a_spectrum_that_falls_steeply() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(400, 60, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(60, 60, generator=generator))[0]
    values = torch.logspace(0, -6, 60)
    matrix = left @ values.diag() @ right
    for rank in (1, 5, 20, 40):
        factors = svd(matrix).factors(rank)
        best = values[rank:].norm()
        assert float((matrix - factors[0] @ factors[1]).norm()) <= 1.001 * float(best) + 1e-6


def test_a_zero_matrix_and_a_rank_deficient_one_have_a_decomposition() -> None:
    zero = svd(torch.zeros(40, 4))
    assert float(zero.factors(2)[0].abs().sum()) == 0 and zero.relative_error(1) == 0.0
    single = torch.outer(torch.arange(1.0, 41.0), torch.tensor([1.0, -2.0, 0.0]))
    left, right = svd(single).factors(1)
    torch.testing.assert_close(left @ right, single, rtol=1e-4, atol=1e-4)


def test_equal_matrices_have_bitwise_equal_factors() -> None:
    matrix = torch.randn(64, 20, generator=torch.Generator().manual_seed(3))
    first, second = svd(matrix).factors(5), svd(matrix.clone()).factors(5)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"called": 2}, "the network uses it 2 times"),
        ({"tied": True}, "its weight is shared with another layer"),
        ({"out_channels": 0}, "its weight has no entries"),
        ({"kind": "conv2d", "groups": 2}, "a grouped convolution (2 groups)"),
        ({}, ""),
    ],
)
def test_layers_are_refused_with_the_reason(facts: dict[str, object], why: str) -> None:
    known = {"name": "fc", "kind": "linear", "out_channels": 4, "in_channels": 4} | facts
    assert refusal(LayerShape(**known), grouped=False) == why


def test_the_section_and_the_classifier_are_respected() -> None:
    shapes = [LayerShape("c", "conv2d", 4, 4), LayerShape("a", "linear", 4, 4), LayerShape("b", "linear", 2, 4)]
    assert refusals(shapes, "fc", skip_last=True) == {
        "c": "not in section 'fc'",
        "a": "",
        "b": "the classifier stays dense",
    }


def test_break_even_is_the_largest_rank_that_saves() -> None:
    for rows, columns in ((120, 784), (10, 84), (3, 3), (1, 9)):
        rank = break_even(LayerShape("l", "linear", rows, columns))
        assert rank * (rows + columns) < rows * columns <= (rank + 1) * (rows + columns)


def test_ranks_are_rounded_up_but_not_beyond_the_full_one() -> None:
    assert [rounded_up(rank, 16, 40) for rank in (0, 1, 16, 17, 33, 99)] == [16, 16, 16, 32, 40, 40]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_declined_by_name(value: float) -> None:
    network = small_cnn()
    network[3].weight.data[0, 0, 0, 0] = value
    task = fake_task(network, (3, 12, 12))
    with pytest.raises(NotApplicable, match="weight of layer '3' holds values that are not finite"):
        select_layers(network, task, refusals(task.shapes))


@pytest.mark.parametrize(("rows", "side"), [(7, 5), (40, 259), (259, 40)])
def test_half_a_product_and_its_mirror_image_are_the_whole(rows: int, side: int):
    """At sizes that are one part, and parts that are not equal."""
    assert [last for _, last in strips(side)][-1] == side and len(strips(259)) > 1
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(rows, side, generator=generator, dtype=torch.float64)
    square = torch.randn(side, side, generator=generator, dtype=torch.float64)
    moment = square @ square.T
    torch.testing.assert_close(times_triangle(matrix, square.tril()), matrix @ square.tril())
    torch.testing.assert_close(gram_of_columns(matrix), matrix.T @ matrix)
    torch.testing.assert_close(times_symmetric(matrix, moment), matrix @ moment @ matrix.T)
