"""Every matrix factorization has the share of parameters as a knob, and both forms: one product, fewer numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fake_task import assert_counts_hold, fake_task, mac_count, pruned, small_cnn, small_fcn
from prunebench import Method
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.levin import PrincipalComponentsPruning
from prunebench_methods.low_rank.low_rank import LowRank
from prunebench_methods.low_rank.pca import ActivationPca
from prunebench_methods.low_rank.pivots import Pivoted
from prunebench_methods.low_rank.whitened import WhitenedSvd
from torch import nn

OPEN: dict[type[Method], dict[str, Any]] = {
    LowRank: {},
    DataAwareLowRank: {"round_to": 1, "skip_last": False, "asymmetric": False},
    ActivationPca: {},
    PrincipalComponentsPruning: {"section": "all"},
}


@pytest.mark.parametrize("cls", OPEN)
@pytest.mark.parametrize("form", ["factors", "pivot"])
@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_a_share_of_the_weights_is_kept_in_both_forms(cls: type[Method], form: str, keep: float) -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=60)
    method = cls(keep=keep, form=form, **OPEN[cls])
    network = pruned(method, task)
    counts = assert_counts_hold(method, task, network)
    changed = [(c, s) for c, s in zip(counts, task.shapes, strict=True) if not c.left_alone]
    assert changed
    for count, shape in changed:
        assert count.parameter_count - shape.out_channels <= keep * shape.weight_count
    assert mac_count(network, task.example_input) == sum(count.mac_count for count in counts)


@pytest.mark.parametrize("cls", OPEN)
def test_the_pivot_form_is_the_same_product_with_fewer_weights(cls: type[Method]) -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=100)
    factors, pivot = (pruned(cls(rank=6, form=form, **OPEN[cls]), task) for form in ("factors", "pivot"))
    assert any(isinstance(module, Pivoted) for module in pivot.modules())
    with torch.no_grad():
        torch.testing.assert_close(pivot(task.calibration), factors(task.calibration), rtol=1e-3, atol=1e-4)
    held = [sum(p.numel() for p in network.parameters()) for network in (pivot, factors)]
    assert held[0] < held[1]


@pytest.mark.parametrize("cls", OPEN)
@pytest.mark.parametrize("form", ["factors", "pivot"])
def test_at_full_rank_both_forms_are_the_layer(cls: type[Method], form: str) -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=200)
    network = pruned(cls(rank=10**6, even_if_larger=True, form=form, **OPEN[cls]), task)
    with torch.no_grad():
        torch.testing.assert_close(network(task.calibration), task.network(task.calibration), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cls", OPEN)
def test_a_share_and_a_rank_contradict_each_other(cls: type[Method]) -> None:
    with pytest.raises(ValueError, match=r"give exactly one of .*keep.*, got rank and keep"):
        cls(rank=3, keep=0.5, **OPEN[cls]).check()


def test_a_budget_of_multiply_accumulates_is_of_two_factors() -> None:
    for settings in ({"theoretical_speedup": 2.0}, {"rank_ratio": 0.5, "allocation": "global"}):
        with pytest.raises(ValueError, match='form must be "factors"'):
            DataAwareLowRank(form="pivot", **settings).check()


def test_grouped_and_projected_convolutions_have_no_pivot_form() -> None:
    network = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Flatten(), nn.Linear(8 * 36, 12), nn.Linear(12, 10))
    task = fake_task(network, (4, 8, 8), count=60)
    pruned(LowRank(keep=0.5, form="pivot"), task)
    assert task.left_alone()["0"] == "a grouped convolution (2 groups)"
    task = fake_task(small_cnn(), (3, 12, 12), count=60)
    pruned(ActivationPca(keep=0.5, form="pivot"), task)
    assert task.left_alone()["0"] == "a projected convolution has no pivot form"


@pytest.mark.parametrize("cls", [LowRank, WhitenedSvd])
def test_a_form_that_is_no_faster_is_left_out_by_min_gain_with_its_ratio(cls: type[Method]) -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=100)
    with pytest.raises(Exception, match=r"factors are .*x as fast at batch 1, not 1000x"):
        pruned(cls(keep=0.9, form="pivot", min_gain=1000.0), task)
    assert cls(keep=0.9, min_gain=1.1).measures and cls(keep=0.9, min_gain=1.1).counts(task.shapes) is None
