"""One share spread over layers: it is kept by all together, in every way, and goes where the way says."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from fake_task import FakeTask, fake_task, pruned, small_cnn, small_fcn
from prunebench import Method, NotApplicable
from prunebench.testing.bench import task as made_task
from prunebench.trial.task import Memory
from prunebench_methods.blocks.heads import Heads
from prunebench_methods.blocks.mlp_width import MlpWidth
from prunebench_methods.low_rank.low_rank import SPREADS, LowRank
from prunebench_methods.low_rank.two_sided import TwoSidedLowRank
from prunebench_methods.low_rank.whitened import Asvd, WhitenedSvd
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.masks.wanda import Wanda
from prunebench_methods.shared.allocation import ALLOCATIONS, by_influence, by_outliers, by_scores
from prunebench_methods.shared.allocation_math import Sites, block_influence, shares_of
from prunebench_methods.shared.grams import grouped_weight, input_grams
from prunebench_methods.shared.importance import importances
from prunebench_methods.shared.replace import linear_and_conv_layers
from prunebench_models.decoder import Decoder, Sizes, anatomy_of, initialised
from prunebench_objectives.language_modelling import LanguageModelling
from torch import nn

TOKENS = torch.randint(19, (12, 16), generator=torch.Generator().manual_seed(3))
WITHOUT_BLOCKS = ("uniform", "global", "owl")


def decoder() -> nn.Module:
    torch.manual_seed(0)
    network = initialised(Decoder(Sizes(19, 3, 24, 4, 2, 40)), 3)
    with torch.no_grad():
        for place, block in enumerate(network.model.layers):
            for parameter in block.parameters():
                parameter.mul_((1 + 0.3 * torch.randn_like(parameter)) * (1 + place))
    return network.eval()


def decoder_task(network: nn.Module) -> Any:
    from prunebench.measure.counts import layer_shapes

    task = made_task(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)))
    task.calibration, task.example_input, task.memory = TOKENS, TOKENS[:1], Memory()
    task.objective, task.outputs = LanguageModelling(), 19
    task.shapes = tuple(s for s in layer_shapes(network, TOKENS[:1]) if "layers" in s.name)
    task.anatomy = anatomy_of(network)
    return task


def on_decoder(method: Method) -> tuple[nn.Module, nn.Module]:
    network = decoder()
    return network, method.prune(copy.deepcopy(network), decoder_task(network))


def sites_of(task: FakeTask) -> Sites:
    layers = linear_and_conv_layers(task.network)
    counts = {name: layer.weight.numel() for name, layer in layers.items()}
    grams = input_grams(task.network, task)
    return Sites(task.network, task, counts, grams, lambda name: grouped_weight(layers[name]))  # type: ignore[arg-type]


COUNTS = {"a": 1000, "b": 3000, "c": 500}


@pytest.mark.parametrize("way", [by_outliers, by_influence, by_scores])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8, 0.99])
def test_shares_add_up_to_the_budget_whatever_spreads_them(way: Any, keep: float) -> None:
    found = way({"a": 0.3, "b": 0.01, "c": 0.02}, COUNTS, keep)
    spent = sum(found[name] * count for name, count in COUNTS.items())
    np.testing.assert_allclose(spent, keep * 4500, rtol=1e-6)
    assert all(0.1 * keep <= share <= 1 for share in found.values())
    assert found["a"] >= found["c"] >= found["b"] and (found["a"] > found["b"] or keep > 0.9)


def test_outlying_layers_keep_at_most_twice_the_span_more_as_printed() -> None:
    outlying = {"a": 0.3, "b": 0.1, "c": 0.2}
    found = by_outliers(outlying, dict.fromkeys("abc", 100), 0.5)
    z = 2 * 0.08 * (np.array([0.3, 0.1, 0.2]) - 0.1) / 0.2
    np.testing.assert_allclose(list(found.values()), 0.5 + z - z.mean(), rtol=1e-6)


def test_what_is_removed_by_influence_is_a_softmax() -> None:
    influence = {"a": 0.3, "b": 0.1, "c": 0.2}
    found = by_influence(influence, dict.fromkeys("abc", 100), 0.8)
    weights = np.exp(-np.array([0.3, 0.1, 0.2]) / 0.2)
    np.testing.assert_allclose(1 - np.array(list(found.values())), 3 * 0.2 * weights / weights.sum(), rtol=1e-6)


def test_scores_share_what_is_above_the_floor() -> None:
    found = by_scores({"a": 1.0, "b": 2.0}, {"a": 100, "b": 100}, 0.6)
    np.testing.assert_allclose([found["a"], found["b"]], [0.3 + 0.6 / 3, 0.3 + 1.2 / 3], rtol=1e-6)


def test_the_global_share_is_that_of_the_weights_above_one_limit() -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=200)
    sites = sites_of(task)
    found = shares_of("global", 0.3, sites)
    curvature = importances(task.network, task, tuple(sites.counts))
    worths = {}
    for name, layer in linear_and_conv_layers(task.network).items():
        weight = layer.weight.detach().double().numpy()
        inputs = sites.grams[name].diagonal()[0].numpy()
        outputs = curvature[name].diagonal(torch.tensor(weight)).numpy()
        worths[name] = (np.square(weight) * inputs * outputs[:, None]).ravel()
    every = np.sort(np.concatenate(list(worths.values())))[::-1]
    limit = every[int(0.3 * len(every)) - 1]
    for name, each in worths.items():
        np.testing.assert_allclose(found[name], max((each >= limit).mean(), 1 / len(each)), atol=2 / len(each))


def test_owl_counts_scores_above_five_times_their_mean() -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=200)
    with torch.no_grad():
        task.network[1].weight[0, :5] = 50.0
    sites = sites_of(task)
    found = shares_of("owl", 0.5, sites)
    outlying = {}
    for name, layer in linear_and_conv_layers(task.network).items():
        scores = layer.weight.detach().abs().double() * sites.grams[name].diagonal()[0].sqrt()
        outlying[name] = float((scores > 5 * scores.mean()).double().mean())
    expected = by_outliers(outlying, sites.counts, 0.5)
    assert max(outlying.values()) > 0
    np.testing.assert_allclose([found[n] for n in expected], list(expected.values()), rtol=1e-6)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("cls", [Wanda, SparseGPT])
def test_masks_keep_the_share_of_all_in_every_allocation(cls: type[Method], allocation: str) -> None:
    network, after = on_decoder(cls(keep=0.5, allocation=allocation, pattern="layer"))  # type: ignore[call-arg]
    layers = {n: m for n, m in after.named_modules() if isinstance(m, nn.Linear) and "layers" in n}
    kept = {name: int(layer.weight.count_nonzero()) / layer.weight.numel() for name, layer in layers.items()}
    total = sum(layer.weight.numel() for layer in layers.values())
    held = sum(int(layer.weight.count_nonzero()) for layer in layers.values())
    assert 0.49 * total <= held <= 0.5 * total + len(layers)
    assert (len({round(share, 2) for share in kept.values()}) == 1) == (allocation == "uniform")
    assert all(a.shape == b.shape for a, b in zip(network.parameters(), after.parameters(), strict=True))


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("form", ["factors", "pivot"])
@pytest.mark.parametrize("cls", [WhitenedSvd, TwoSidedLowRank])
def test_products_keep_at_most_the_share_of_all(cls: type[Method], form: str, allocation: str) -> None:
    network, after = on_decoder(cls(keep=0.6, form=form, allocation=allocation))  # type: ignore[call-arg]
    dense = sum(p.numel() for n, p in network.named_parameters() if "layers" in n and p.ndim == 2)
    held = sum(p.numel() for n, p in after.named_parameters() if "layers" in n and p.ndim == 2)
    assert 0.4 * dense < held <= 0.6 * dense


@pytest.mark.parametrize("allocation", SPREADS)
@pytest.mark.parametrize("form", ["factors", "pivot"])
def test_plain_decompositions_have_the_rank_of_their_layers_share(form: str, allocation: str) -> None:
    network, after = on_decoder(method := LowRank(keep=0.6, form=form, allocation=allocation))
    task = decoder_task(network)
    dense = {shape.name: shape for shape in task.shapes}
    layers = {name: network.get_submodule(name) for name in dense}
    counts = {name: shape.weight_count for name, shape in dense.items()}
    sites = Sites(network, task, counts, input_grams(network, task), lambda name: grouped_weight(layers[name]))
    shares = shares_of(allocation, 0.6, sites)
    assert (len({round(share, 6) for share in shares.values()}) == 1) == (allocation == "uniform")
    held = 0
    for name, share in shares.items():
        m, n = layers[name].weight.shape
        weights = sum(p.numel() for p in after.get_submodule(name).parameters() if p.ndim == 2)
        held += weights
        sizes = [r * (m + n - (r if form == "pivot" else 0)) for r in range(1, min(m, n) + 1)]
        assert weights == max(size for size in sizes if size <= share * m * n)
    assert 0.4 * sum(counts.values()) < held <= 0.6 * sum(counts.values())
    assert (method.counts(task.shapes) is None) == (allocation != "uniform")


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_widths_and_heads_follow_the_allocation(allocation: str) -> None:
    _, after = on_decoder(MlpWidth(keep=0.5, allocation=allocation))
    widths = [block.mlp.up_proj.out_features for block in after.model.layers]
    assert 54 <= sum(widths) <= 63 and (len(set(widths)) == 1) == (allocation == "uniform")
    _, after = on_decoder(Heads(keep=0.5, allocation=allocation))
    assert all(1 <= block.self_attn.v_proj.out_features // 6 <= 2 for block in after.model.layers)
    with torch.no_grad():
        assert after(TOKENS).isfinite().all()


def test_blocks_that_change_the_stream_more_keep_more() -> None:
    task = decoder_task(network := decoder())
    sites = Sites(network, task, {s.name: s.weight_count for s in task.shapes}, {}, lambda name: torch.empty(0))
    found = shares_of("influence", 0.5, sites)
    influence = {name: block_influence(sites, name) for name in found}
    order = sorted(found, key=lambda name: influence[name])
    assert [found[name] for name in order] == sorted(found.values())
    assert found["model.layers.0.mlp.up_proj"] == found["model.layers.0.self_attn.q_proj"]


@pytest.mark.parametrize("allocation", ["influence", "effective_rank"])
def test_influence_needs_blocks(allocation: str) -> None:
    task = fake_task(small_fcn(), (1, 8, 8), count=100)
    with pytest.raises(NotApplicable, match="the anatomy of this network is not known"):
        pruned(Wanda(keep=0.5, allocation=allocation), task)


@pytest.mark.parametrize("allocation", WITHOUT_BLOCKS)
def test_convolutions_are_spread_too(allocation: str) -> None:
    task = fake_task(small_cnn(), (3, 12, 12), count=60)
    network = pruned(Wanda(keep=0.4, pattern="layer", allocation=allocation), task)
    total = sum(s.weight_count for s in task.shapes)
    held = sum(int(layer.weight.count_nonzero()) for layer in linear_and_conv_layers(network).values())
    assert 0.38 * total <= held <= 0.4 * total + 4


def test_settings_that_contradict_an_allocation_are_refused() -> None:
    with pytest.raises(ValueError, match=r'pattern 2:4 keeps the same in all layers: allocation must be "uniform"'):
        Wanda(pattern="2:4", allocation="owl").check()
    with pytest.raises(ValueError, match='allocation "owl" needs `keep`'):
        WhitenedSvd(rank=4, allocation="owl").check()
    with pytest.raises(ValueError, match="asvd does not know what a component costs"):
        Asvd(keep=0.5, allocation="global").check()
    with pytest.raises(ValueError, match='allocation "owl" needs `keep`'):
        LowRank(rank=4, allocation="owl").check()
    assert Wanda(keep=0.5, allocation="owl").counts(fake_task(small_fcn(), (1, 8, 8)).shapes) is None
