"""Methods that look at inputs, on a decoder of tokens, and one after another: shared inputs, counts, tied heads."""

from __future__ import annotations

import copy

import pytest
import torch
from prunebench import Method
from prunebench.measure.counts import counts, layer_shapes
from prunebench.testing.bench import task as made_task
from prunebench.trial.task import Memory, TrialTask
from prunebench_methods.low_rank.two_sided import TwoSidedLowRank
from prunebench_methods.low_rank.whitened import Asvd, FisherSvd, WhitenedSvd
from prunebench_methods.masks.alps import Alps
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.masks.wanda import Wanda
from prunebench_methods.quantization.awq import AWQ
from prunebench_methods.quantization.gptq import GPTQ
from prunebench_methods.quantization.grids import codes_of
from prunebench_methods.quantization.hqq import HQQ
from prunebench_methods.quantization.rtn import RoundToNearest
from prunebench_methods.shared.grams import input_grams
from prunebench_methods.shared.replace import linear_and_conv_layers
from prunebench_models.decoder import Decoder, Sizes, initialised
from prunebench_objectives.language_modelling import LanguageModelling
from torch import nn

TOKENS = torch.randint(19, (24, 12), generator=torch.Generator().manual_seed(3))
METHODS: list[Method] = [
    Wanda(keep=0.5),
    Wanda(pattern="2:4"),
    SparseGPT(keep=0.5),
    Alps(keep=0.5),
    RoundToNearest(bits=4),
    GPTQ(bits=4, group=8),
    AWQ(bits=4, group=8),
    HQQ(bits=4, group=8),
    WhitenedSvd(keep=0.6),
    WhitenedSvd(keep=0.6, form="pivot"),
    Asvd(keep=0.6),
    FisherSvd(keep=0.6),
    TwoSidedLowRank(keep=0.6, allocation="uniform"),
    TwoSidedLowRank(keep=0.6),
]


def decoder() -> Decoder:
    torch.manual_seed(0)
    return initialised(Decoder(Sizes(19, 2, 24, 4, 2, 40)), 2).eval()


def task_for(network: nn.Module) -> TrialTask:
    task = made_task(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)))
    task.calibration, task.example_input, task.memory = TOKENS, TOKENS[:1], Memory()
    task.shapes, task.objective, task.outputs = layer_shapes(network, TOKENS[:1]), LanguageModelling(), 19
    return task


def loss(network: nn.Module, dense: nn.Module) -> float:
    """Mean divergence of the answers from the dense network's."""
    with torch.no_grad():
        wanted, found = dense(TOKENS).log_softmax(-1), network(TOKENS).log_softmax(-1)
    return float((wanted.exp() * (wanted - found)).sum(-1).mean())


def test_queries_keys_and_values_share_one_gram_and_so_do_gate_and_up() -> None:
    network = decoder()
    found = input_grams(network, task_for(network))
    block = "model.layers.1."
    attention = [found[f"{block}self_attn.{name}_proj"] for name in "qkv"]
    assert attention[0] is attention[1] is attention[2]
    assert found[f"{block}mlp.gate_proj"] is found[f"{block}mlp.up_proj"]
    assert len({id(gram) for gram in found.values()}) == 2 * 4 + ("lm_head" in found)
    assert attention[0].count == TOKENS.numel()


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_runs_on_tokens_as_declared_and_spares_the_tied_head(method: Method) -> None:
    network = decoder()
    task = task_for(network)
    pruned = method.prune(copy.deepcopy(network), task)
    assert torch.equal(pruned.model.embed_tokens.weight, network.model.embed_tokens.weight)
    assert 0 < loss(pruned, network) < 1
    declared = method.counts(task.shapes)
    if declared is None:
        return
    names = {shape.name for shape in task.shapes}
    left_alone = {n: facts["left_alone"] for n, facts in task.layers.items() if facts.get("left_alone") and n in names}
    assert {count.name: count.left_alone for count in declared if count.left_alone} == left_alone
    before, after = counts(network, TOKENS[:1]), counts(pruned, TOKENS[:1], dense=network)
    saved = sum(s.parameter_count for s in task.shapes) - sum(c.parameter_count for c in declared)
    assert before.parameter_count - after.parameter_count == saved
    macs = sum(s.mac_count for s in task.shapes) - sum(c.mac_count for c in declared)
    assert before.mac_count - after.mac_count == macs


def test_more_bits_and_more_weights_lose_less() -> None:
    network = decoder()
    task = task_for(network)

    def lost(method: Method) -> float:
        return loss(method.prune(copy.deepcopy(network), task), network)

    for ladder in (
        [GPTQ(bits=bits) for bits in (2, 4, 8)],
        [SparseGPT(keep=keep) for keep in (0.3, 0.6, 0.9)],
        [TwoSidedLowRank(keep=keep) for keep in (0.4, 0.7, 0.95)],
    ):
        losses = [lost(method) for method in ladder]
        assert losses == sorted(losses, reverse=True)
    assert lost(TwoSidedLowRank(keep=0.6)) < lost(WhitenedSvd(keep=0.6, form="pivot")) < lost(WhitenedSvd(keep=0.6))


@pytest.mark.parametrize("first", [SparseGPT(keep=0.5), TwoSidedLowRank(keep=0.6), WhitenedSvd(keep=0.6)], ids=str)
@pytest.mark.parametrize("then", [RoundToNearest(bits=6), GPTQ(bits=6), AWQ(bits=6)], ids=str)
def test_bits_go_on_from_masks_and_from_products(first: Method, then: Method) -> None:
    network = decoder()
    middle = first.prune(copy.deepcopy(network), task_for(network))
    between = copy.deepcopy(middle)
    last = then.prune(middle, task_for(middle))
    layers = {name: layer for name, layer in linear_and_conv_layers(last).items() if "head" not in name}
    assert all(codes_of(layer, 6) is not None for layer in layers.values())
    assert loss(last, between) < 0.05 * max(loss(between, network), 0.05)
    zeros = sum(int((layer.weight == 0).sum()) for layer in layers.values())
    before = sum(int((layer.weight == 0).sum()) for layer in linear_and_conv_layers(between).values())
    assert zeros >= before
    packed = then.storage(last)
    assert packed["packed"] < packed["dense"]
