"""low_rank, svd and low_rank_as_run against linear algebra and published counts."""

from __future__ import annotations

import pytest
import torch
from fake_task import assert_counts_hold, fake_task, pruned, small_cnn, small_fcn
from hypothesis import given, settings
from hypothesis import strategies as st
from prunebench import LayerShape, NotApplicable
from prunebench_methods.low_rank.low_rank import LowRank, LowRankAsRun, RohlicekSvd
from torch import nn

FULL = LowRank(rank_ratio=1.0, even_if_larger=True)


def lenet(classes: int = 26) -> nn.Sequential:
    """The 82,554-parameter network of Rohlicek's tables."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(576, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Conv2d:
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    size = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return nn.Conv2d(
        groups * draw(st.integers(1, 4)),
        groups * draw(st.integers(1, 5)),
        draw(size),
        stride=draw(size),
        padding=draw(st.one_of(st.just("valid"), st.tuples(st.integers(0, 2), st.integers(0, 2)))),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(["zeros", "reflect", "circular"])),
    )


@settings(max_examples=8, deadline=None, derandomize=True)
@given(layer=convolutions(), seed=st.integers(0, 100))
def test_at_full_rank_a_convolution_equals_its_factors(layer: nn.Conv2d, seed: int) -> None:
    torch.manual_seed(seed)
    nn.init.normal_(layer.weight)
    network = nn.Sequential(layer)
    task = fake_task(network, (layer.in_channels, 9, 8), count=10)
    result = pruned(FULL, task)
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-4, atol=1e-4)
    assert_counts_hold(FULL, task, result)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(inputs=st.integers(1, 40), outputs=st.integers(1, 40), bias=st.booleans())
def test_at_full_rank_a_linear_layer_equals_its_factors(inputs: int, outputs: int, bias: bool) -> None:
    torch.manual_seed(inputs * 41 + outputs)
    network = nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs, bias=bias))
    task = fake_task(network, (1, 1, inputs), count=10)
    result = pruned(FULL, task)
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-4, atol=1e-5)
    assert_counts_hold(FULL, task, result)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_the_error_is_the_tail_of_the_singular_values(rank: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 20))
    task = fake_task(network, (1, 6, 10))
    first, second = pruned(LowRank(rank=rank), task)[1]
    weight = network[1].weight.detach()
    values = torch.linalg.svdvals(weight)
    error = weight - (second.weight @ first.weight).detach()
    torch.testing.assert_close(torch.linalg.matrix_norm(error, 2), values[rank], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(error.norm(), values[rank:].norm(), rtol=1e-4, atol=1e-5)
    assert task.facts["1"]["weight_error"] == pytest.approx(float(error.norm() / weight.norm()), rel=1e-4)


def test_both_factors_carry_the_root_of_the_singular_values() -> None:
    task = fake_task(nn.Sequential(nn.Flatten(), nn.Linear(60, 20)), (1, 6, 10))
    first, second = pruned(LowRank(rank=5), task)[1]
    torch.testing.assert_close(first.weight.norm(dim=1), second.weight.norm(dim=0), rtol=1e-4, atol=1e-5)


def test_a_convolution_becomes_two_with_the_geometry_in_the_first() -> None:
    layer = nn.Conv2d(4, 12, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), padding_mode="reflect")
    first, second = pruned(LowRank(rank=3), fake_task(nn.Sequential(layer), (4, 12, 16)))[0]
    assert (first.kernel_size, first.stride, first.padding, first.dilation) == ((3, 5), (2, 1), (1, 2), (1, 2))
    assert first.padding_mode == "reflect" and first.bias is None
    assert (second.kernel_size, second.out_channels) == ((1, 1), 12)
    assert torch.equal(second.bias, layer.bias) and second.bias is not layer.bias


@pytest.mark.parametrize(
    "method",
    [
        LowRank(rank=4),
        LowRank(rank_ratio=0.3),
        LowRank(rank_ratio=0.2, section="fc"),
        LowRank(rank_ratio=0.2, section="conv", round_to=4),
        LowRank(rank=4, skip_last=True),
        RohlicekSvd(keep=0.2),
        RohlicekSvd(keep=0.3, section="all", skip_last=True),
        LowRankAsRun(rank=4),
        LowRankAsRun(rank=30, section="all"),
        LowRankAsRun(rank=500, section="fc"),
    ],
    ids=repr,
)
def test_the_declared_counts_equal_the_counted_ones(method: LowRank) -> None:
    task = fake_task(small_cnn(), (3, 12, 12))
    assert_counts_hold(method, task, pruned(method, task))


def test_rohlicek_parameter_counts_come_out_exactly() -> None:
    task = fake_task(lenet(), (1, 32, 32), classes=26, count=26)
    found = []
    for keep in (0.05, 0.10, 0.20, 0.50, 0.75):
        result = pruned(RohlicekSvd(keep=keep), task)
        task.facts.clear()
        found.append(sum(p.numel() for p in result.parameters()))
    assert found == [6283, 11396, 21733, 53043, 78924]


def test_the_bias_that_svd_inserts_changes_nothing_until_it_is_trained() -> None:
    network = small_fcn()
    task = fake_task(network, (1, 8, 8))
    result = pruned(RohlicekSvd(keep=1.0), task)
    assert torch.count_nonzero(result[1][0].bias) == 0
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns", "most"), [(120, 784, 104), (84, 120, 49), (10, 84, 8), (8192, 2048, 1638)])
def test_a_rank_beyond_break_even_is_declined_with_the_number(rows: int, columns: int, most: int) -> None:
    shape = LayerShape("fc", "linear", rows, columns)
    assert LowRank(rank=most).counts([shape])[0].rank == most
    beyond = LowRank(rank=min(most + 1, rows))
    if most + 1 <= rows:
        assert beyond.counts([shape])[0].left_alone == f"rank {most + 1} saves nothing here: break-even is {most}"


def test_a_network_in_which_nothing_is_saved_is_declined() -> None:
    with pytest.raises(NotApplicable, match="rank 48 saves nothing here: break-even is 27"):
        pruned(LowRank(rank=500), fake_task(small_fcn(), (1, 8, 8)))


def test_energy_chooses_the_smallest_rank_that_keeps_it() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(30, 30))
    left, right = (torch.linalg.qr(torch.randn(30, 30, generator=torch.Generator().manual_seed(s)))[0] for s in (1, 2))
    values = torch.cat((torch.tensor([3.0, 2.0, 1.0]), torch.full((27,), 0.001)))
    network[1].weight.data = left @ values.diag() @ right
    task = fake_task(network, (1, 5, 6))
    pruned(LowRank(energy=0.92), task)  # 9, 4 and 1 of 14
    assert task.facts["1"]["rank"] == 2
    assert LowRank(energy=0.5).counts(task.shapes) is None


@pytest.mark.parametrize("given", [{}, {"rank": 3, "energy": 0.5}, {"rank": 3, "rank_ratio": 0.5}], ids=repr)
def test_exactly_one_way_to_choose_the_rank_is_asked_for(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give exactly one of rank, rank_ratio, energy"):
        LowRank(**given).check()


def test_as_run_drops_the_singular_values() -> None:
    task = fake_task(nn.Sequential(nn.Flatten(), nn.Linear(60, 20)), (1, 6, 10))
    first, second = pruned(LowRankAsRun(rank=5), task)[1]
    values = torch.linalg.svdvals((second.weight @ first.weight).detach())
    torch.testing.assert_close(values[:5], torch.ones(5), rtol=1e-4, atol=1e-4)
    assert "singular values" in task.notes[0]


def test_as_run_a_rank_beyond_the_layer_multiplies_by_an_identity() -> None:
    network = small_cnn()
    task = fake_task(network, (3, 12, 12))
    result = pruned(LowRankAsRun(rank=400), task)
    assert torch.equal(result[0].left, torch.eye(16))
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-4, atol=1e-5)
    with pytest.raises(NotApplicable, match="rank 400 exceeds 16"):
        pruned(LowRankAsRun(rank=400, identity=False), task)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(layer=convolutions().filter(lambda layer: layer.groups == 1))
def test_as_run_the_unfolded_convolution_has_the_geometry_of_the_layer(layer: nn.Conv2d) -> None:
    network = nn.Sequential(layer)
    task = fake_task(network, (layer.in_channels, 9, 8), count=10)
    result = pruned(LowRankAsRun(rank=1000), task)
    torch.testing.assert_close(result(task.calibration), network(task.calibration), rtol=1e-4, atol=1e-5)
    truncated = pruned(LowRankAsRun(rank=1), task)
    as_timed, as_trained = truncated.eval()(task.calibration), truncated.train()(task.calibration)
    torch.testing.assert_close(as_trained, as_timed, rtol=1e-4, atol=1e-5)


def test_a_sweep_decomposes_each_layer_once() -> None:
    task = fake_task(small_fcn(), (1, 8, 8))
    for rank in (1, 2, 3):
        pruned(LowRank(rank=rank), task)
    pruned(RohlicekSvd(keep=0.5), task)
    assert sorted(task.computed) == [("svd", "1"), ("svd", "3"), ("svd", "5")]


def test_what_is_kept_for_a_sweep_does_not_change_with_the_pruned_network() -> None:
    task = fake_task(small_fcn(), (1, 8, 8))
    first = pruned(RohlicekSvd(keep=1.0), task)
    before = [parameter.detach().clone() for parameter in first.parameters()]
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    again = pruned(RohlicekSvd(keep=1.0), task)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), before, strict=True))
