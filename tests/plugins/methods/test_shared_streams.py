"""A rotated residual stream, a basis that blocks share: exact at the whole, by their mathematics below."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from prunebench import Method, NotApplicable
from prunebench.measure.counts import layer_shapes
from prunebench.testing import check_method
from prunebench_methods.blocks.modegpt import ModeGpt
from prunebench_methods.blocks.slice_residual import SliceResidual
from prunebench_methods.blocks.slice_residual_math import Rms
from prunebench_methods.low_rank.basis_sharing import BasisSharing
from prunebench_methods.low_rank.basis_sharing_math import factors, on_factors, on_pivots, rank_within, stack_shares
from prunebench_methods.masks.wanda import Wanda
from prunebench_methods.quantization.rtn import RoundToNearest
from prunebench_methods.shared import gain as gain_module
from prunebench_methods.shared.allocation_math import Sites, block_influence
from prunebench_methods.shared.grams import Gram
from prunebench_models.decoder import Decoder, Sizes, initialised
from test_blocks import IMAGES, TOKENS, answers, main_directions, of_transformers, own_decoder, pruned, task_for, vision
from torch import nn

STREAMS = {"decoder": own_decoder} | {
    name: lambda name=name: of_transformers(name) for name in ("Qwen2", "GPT2", "OPT", "GPTNeoX")
}


def stirred(network: nn.Module) -> nn.Module:
    """With norms and biases that are not what they start as."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
            elif "head" not in name:
                parameter.mul_(3)
    return network


@pytest.mark.parametrize("kind", STREAMS)
def test_norms_folded_and_the_stream_rotated_change_no_answer(kind: str) -> None:
    network = stirred(STREAMS[kind]())
    whole = pruned(SliceResidual(keep=0.99999, round_to=1), network, TOKENS)  # of 24 directions 23 are left
    assert not torch.equal(answers(whole, TOKENS), answers(network, TOKENS))

    class Whole(SliceResidual):
        def width(self, whole: int) -> int:
            return whole

    rotated = pruned(Whole(keep=0.5), network, TOKENS)
    assert sum(isinstance(module, Rms) for module in rotated.modules()) == 7
    torch.testing.assert_close(answers(rotated, TOKENS), answers(network, TOKENS), rtol=1e-3, atol=1e-3)


def test_a_stream_that_has_few_directions_loses_nothing() -> None:
    network = own_decoder()
    basis = torch.linalg.qr(torch.randn(24, 16, generator=torch.Generator().manual_seed(1)))[0]
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.copy_(basis @ basis.T @ parameter)
        network.model.embed_tokens.weight.copy_(network.model.embed_tokens.weight @ basis @ basis.T)
    narrow = pruned(SliceResidual(keep=0.67), network, TOKENS)
    assert narrow.model.embed_tokens.weight.shape == (19, 16)
    torch.testing.assert_close(answers(narrow, TOKENS), answers(network, TOKENS), rtol=1e-3, atol=1e-3)


def test_the_directions_that_are_cut_are_those_of_least_variance() -> None:
    network = own_decoder()
    kept = main_directions(network, 16)
    narrow = pruned(SliceResidual(keep=0.67), network, TOKENS)
    table, old = (net.model.embed_tokens.weight.detach().double().numpy() for net in (narrow, network))
    np.testing.assert_allclose(table @ table.T, old @ kept @ kept.T @ old.T, rtol=1e-3, atol=1e-4)


def test_less_of_the_stream_loses_more() -> None:
    network = own_decoder()
    dense = answers(network, TOKENS)
    cut = [pruned(SliceResidual(keep=keep), network, TOKENS) for keep in (0.34, 0.67, 1.0)]
    lost = [float((answers(narrow, TOKENS) - dense).norm()) for narrow in cut]
    assert lost[0] > lost[1] > lost[2] == 0


def test_streams_that_are_not_known_whole_are_declined() -> None:
    for network, inputs in ((vision(), IMAGES), (nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), IMAGES)):
        with pytest.raises(NotApplicable, match="not known"):
            pruned(SliceResidual(), network, inputs)


def test_an_anatomy_that_is_not_true_is_found_out() -> None:
    network = own_decoder()
    network.model.norm.register_forward_hook(lambda module, args, output: output + 1)
    with pytest.raises(NotApplicable, match="its outputs change when norms are folded"):
        pruned(SliceResidual(), network, TOKENS)


def layers_and_inputs(count: int = 60) -> tuple[list[nn.Module], list[np.ndarray]]:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(12, 8).double() for _ in range(2)]
    generator = np.random.default_rng(0)
    return layers, [generator.standard_normal((count, 12)) * np.logspace(-1, 1, 12) + 1 for _ in layers]


@pytest.mark.parametrize("count", [60, 4])
def test_a_shared_basis_is_the_decomposition_of_the_stack(count: int) -> None:
    layers, inputs = layers_and_inputs(count)
    grams = [Gram() for _ in layers]
    for gram, x in zip(grams, inputs, strict=True):
        gram.add(torch.tensor(x)[:, None])
    lefts, right = factors(layers, grams, 3)
    stack = np.concatenate([layer.weight.detach().numpy() for layer in layers])
    both = np.concatenate(inputs)
    change = np.concatenate([left.numpy() for left in lefts]) @ right.numpy() - stack
    tail = np.linalg.svd(both @ stack.T, compute_uv=False)[3:]
    np.testing.assert_allclose(np.square(both @ change.T).sum(), np.square(tail).sum(), rtol=1e-6)


def test_the_shared_factor_is_one_layer_and_counts_once() -> None:
    network = own_decoder()
    shared = pruned(BasisSharing(keep=0.5), network, TOKENS)
    first, second = (shared.model.layers[place].mlp.up_proj for place in (0, 1))
    assert first[0] is second[0] and first[1] is not second[1]
    assert torch.equal(shared.model.layers[2].mlp.up_proj.weight, network.model.layers[2].mlp.up_proj.weight)
    held = sum(p.numel() for p in {*first.parameters(), *second.parameters()})
    assert held <= 0.5 * 2 * 40 * 24 and held == rank_within([network.model.layers[0].mlp.up_proj] * 2, 0.5) * (80 + 24)
    assert answers(shared, TOKENS).isfinite().all()
    assert torch.equal(answers(pruned(BasisSharing(keep=1.0), network, TOKENS), TOKENS), answers(network, TOKENS))


def test_shared_rows_are_the_same_product_with_fewer_numbers() -> None:
    network = own_decoder()
    for block in network.model.layers:  # some of the layers have biases
        torch.manual_seed(5)
        block.self_attn.q_proj.bias = nn.Parameter(torch.randn(24))
    layers = [network.model.layers[place].self_attn.q_proj for place in (0, 1)]
    bases, shared = factors(layers, grams_for(layers), 9)
    some, fewer = (joined(layers, bases, shared) for joined in (on_factors, on_pivots))
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(1))
    for one, other in zip(some, fewer, strict=True):
        torch.testing.assert_close(other(x), one(x), rtol=1e-4, atol=1e-4)
    assert fewer[0].rows is fewer[1].rows
    weights = {p for module in fewer for name, p in module.named_parameters() if "weight" in name}
    assert sum(p.numel() for p in weights) == 9 * (48 + 24 - 9)
    after = pruned(BasisSharing(keep=0.5, form="pivot"), network, TOKENS)
    pair = [after.model.layers[place].mlp.up_proj for place in (0, 1)]
    held = sum(p.numel() for p in {*pair[0].parameters(), *pair[1].parameters()})
    rank = rank_within([network.model.layers[0].mlp.up_proj] * 2, 0.5, "pivot")
    assert held == rank * (80 + 24 - rank) <= 0.5 * 2 * 40 * 24 and rank > rank_within(
        [network.model.layers[0].mlp.up_proj] * 2, 0.5
    )
    assert answers(after, TOKENS).isfinite().all()


def grams_for(layers: list[nn.Module]) -> list[Gram]:
    grams = [Gram() for _ in layers]
    for place, gram in enumerate(grams):
        gram.add(torch.randn(60, 1, 24, generator=torch.Generator().manual_seed(place), dtype=torch.float64))
    return grams


def test_blocks_without_neighbours_or_anatomy_are_declined() -> None:
    with pytest.raises(NotApplicable, match="no 4 neighbouring blocks"):
        pruned(BasisSharing(together=4), own_decoder(), TOKENS)
    with pytest.raises(NotApplicable, match="anatomy of this network is not known"):
        pruned(BasisSharing(), nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), IMAGES)


@pytest.mark.parametrize("first", [ModeGpt(keep=0.5), SliceResidual(keep=0.67), BasisSharing(keep=0.5)], ids=str)
@pytest.mark.parametrize("second", [RoundToNearest(bits=4), Wanda(keep=0.5, pattern="layer")], ids=str)
def test_bits_and_masks_go_on_from_what_is_left(first: Method, second: Method) -> None:
    before = pruned(first, own_decoder(), TOKENS)
    task = task_for(before, TOKENS)
    task.shapes = layer_shapes(before, TOKENS[:1])
    after = second.prune(copy.deepcopy(before), task)
    assert answers(after, TOKENS).isfinite().all() and not torch.equal(answers(after, TOKENS), answers(before, TOKENS))
    if isinstance(second, Wanda):
        layers = [m for m in after.modules() if isinstance(m, nn.Linear) and m is not after.lm_head]
        shares = [float(m.weight.count_nonzero()) / m.weight.numel() for m in layers]
        assert all(abs(share - 0.5) < 0.03 for share in shares)


@pytest.mark.parametrize("cls", [SliceResidual, BasisSharing])
def test_half_precision_comes_back_as_it_went_in(cls: type[SliceResidual]) -> None:
    small = pruned(cls(keep=0.5), own_decoder().bfloat16(), TOKENS)
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16} and answers(small, TOKENS).isfinite().all()


def test_the_kit_finds_nothing() -> None:
    assert check_method(BasisSharing, speed=False) == []


def test_layers_that_share_stay_dense_together_where_one_is_slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = own_decoder()
    slow = network.model.layers[1].mlp.up_proj.weight
    monkeypatch.setattr(gain_module, "gain", lambda layer, factors, x: 0.5 if torch.equal(layer.weight, slow) else 2.0)
    task = task_for(network, TOKENS)
    task.shapes = layer_shapes(network, TOKENS[:1])
    after = BasisSharing(keep=0.5, min_gain=1.0).prune(copy.deepcopy(network), task)
    ups, gates = ([getattr(after.model.layers[n].mlp, f"{part}_proj") for n in (0, 1)] for part in ("up", "gate"))
    for layer, block in zip(ups, network.model.layers, strict=False):
        assert torch.equal(layer.weight, block.mlp.up_proj.weight)
    assert gates[0][0] is gates[1][0], "the others share as before"
    monkeypatch.setattr(gain_module, "gain", lambda layer, factors, x: 0.5)
    with pytest.raises(NotApplicable, match=r"factors are 0\.5x as fast at batch 1, not 1x"):
        BasisSharing(keep=0.5, min_gain=1.0).prune(copy.deepcopy(network), task)


def test_blocks_that_share_have_the_ranks_of_their_mean_influence() -> None:
    torch.manual_seed(0)
    network = initialised(Decoder(Sizes(19, 4, 24, 4, 2, 40)), 4).eval()
    with torch.no_grad():
        for place, block in enumerate(network.model.layers):
            for parameter in block.parameters():
                parameter.mul_(1 + place)
    task = task_for(network, TOKENS)
    sites = Sites(network, task, {}, {}, lambda name: torch.empty(0))
    pairs = [[block_influence(sites, f"model.layers.{n}") for n in both] for both in ((0, 1), (2, 3))]
    stacks = [[f"model.layers.{first + n}.mlp.up_proj" for n in (0, 1)] for first in (0, 2)]
    method = BasisSharing(keep=0.6, allocation="influence")
    shares = stack_shares(method, network, task, stacks)
    removed = np.exp(-np.mean(pairs, 1) / np.mean(pairs))
    np.testing.assert_allclose(1 - np.array(list(shares.values())), 2 * 0.4 * removed / removed.sum(), rtol=1e-6)
    assert not np.allclose(*shares.values(), rtol=0.05)
    after = pruned(method, network, TOKENS)
    held = [after.model.layers[first].mlp.up_proj[0].out_features for first in (0, 2)]
    every = stack_shares(method, network, task, all_stacks(network))
    for rank, first in zip(held, (0, 2), strict=True):
        layers = [network.model.layers[first + n].mlp.up_proj for n in (0, 1)]
        assert rank == rank_within(layers, every[f"model.layers.{first}.mlp.up_proj"])
    assert len(set(held)) == 2
    dense, now = (sum(p.numel() for p in each.parameters() if p.ndim == 2) for each in (network, after))
    assert now < dense


def all_stacks(network: nn.Module) -> list[list[str]]:
    """Names of the layers that pairs of blocks share."""
    parts = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.gate_proj")
    return [[f"model.layers.{first + n}.{part}" for n in (0, 1)] for first in (0, 2) for part in parts]
