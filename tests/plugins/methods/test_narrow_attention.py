"""Narrower heads: best products of their rank, angles that stay with their pairs, and nothing lost where nothing is."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from prunebench import NotApplicable
from prunebench.testing import check_method
from prunebench_methods.blocks.attention_math import (
    kept_pairs,
    maps_of,
    moment_with_one,
    narrow_products,
    narrow_values,
    put_narrow,
    source,
)
from prunebench_methods.blocks.modegpt import AttentionSvd, ModeGpt
from prunebench_methods.blocks.narrow_attention import NarrowAttention
from prunebench_methods.shared.grams import Gram, grams_of
from test_blocks import (
    TOKENS,
    answers,
    inputs_of_kind,
    of_transformers,
    own_decoder,
    pruned,
    small_vit,
    task_for,
    vision,
)
from torch import nn


def torch_encoder() -> nn.Module:
    from prunebench.testing.bench import transformer

    torch.manual_seed(0)
    return transformer().eval()


KINDS = {"decoder": own_decoder, "vision": vision, "encoder": torch_encoder, "small_vit": small_vit}
IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def given(kind: str) -> torch.Tensor:
    return IMAGES if kind == "encoder" else inputs_of_kind(kind)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows_with_one(count: int = 80, width: int = 12) -> torch.Tensor:
    return torch.cat([drawn(count, width) @ drawn(width, width, seed=1) + 1, torch.ones(count, 1).double()], 1)


@pytest.mark.parametrize("count", [80, 7])
def test_values_and_outputs_reach_the_bound_of_eckart_and_young(count: int) -> None:
    x, value, outputs = rows_with_one(count), drawn(6, 13, seed=2), drawn(3, 12, 6, seed=3)
    whole = np.concatenate([(x @ value.T @ o.T).numpy() for o in outputs], 1)
    tail = np.linalg.svd(whole, compute_uv=False)
    for rank in (1, 3, 5):
        found, back = narrow_values(value, outputs, x.T @ x / count, rank)
        new = np.concatenate([(x @ found.T @ o.T).numpy() for o in back], 1)
        np.testing.assert_allclose(np.square(new - whole).sum(), np.square(tail[rank:]).sum(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("count", [80, 7])
def test_queries_and_keys_without_rotation_reach_it_too(count: int) -> None:
    x, queries, key = rows_with_one(count), drawn(2, 6, 13, seed=2), drawn(6, 13, seed=3)
    products = [(x @ q.T @ key @ x.T).numpy() for q in queries]
    tail = np.linalg.svd(np.concatenate(products), compute_uv=False)
    for rank in (1, 3, 5):
        found, keys = narrow_products(queries, key, x.T @ x / count, rank)
        new = [(x @ q.T @ keys @ x.T).numpy() for q in found]
        lost = sum(np.square(a - b).sum() for a, b in zip(new, products, strict=True))
        np.testing.assert_allclose(lost, np.square(tail[rank:]).sum(), rtol=1e-6, atol=1e-7)


def test_pairs_are_kept_by_the_norms_of_queries_and_keys() -> None:
    x, queries, key = rows_with_one(), drawn(2, 8, 13, seed=2), drawn(8, 13, seed=3)
    a = np.sqrt(sum(np.square((x @ q.T).numpy()).mean(0) for q in queries))
    c = np.sqrt(np.square((x @ key.T).numpy()).mean(0))
    scores = np.sqrt(np.square(a[:4] * c[:4]) + np.square(a[4:] * c[4:]))
    found = kept_pairs(queries, key, x.T @ x / len(x), 2)
    assert found.tolist() == sorted(np.argsort(-scores)[:2].tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_all_dimensions_in_the_new_form_are_the_old_attention(kind: str) -> None:
    network = KINDS[kind]()
    task = task_for(network, given(kind))
    changed = copy.deepcopy(network)
    for block in task.anatomy.blocks:
        gram = grams_of(network, task, [source(network, block.attention)])[source(network, block.attention)]
        put_narrow(changed, block.attention, gram, block.attention.head_dim)
    assert sum(isinstance(module, NarrowAttention) for module in changed.modules()) == 3
    torch.testing.assert_close(answers(changed, given(kind)), answers(network, given(kind)), rtol=1e-3, atol=1e-4)


def test_the_moment_with_a_one_is_that_of_longer_rows() -> None:
    x, gram = drawn(30, 5), Gram()
    gram.add(x[:, None])
    longer = np.concatenate([x.numpy(), np.ones((30, 1))], 1)
    np.testing.assert_allclose(moment_with_one(gram).numpy(), longer.T @ longer / 30, rtol=1e-6)


def test_dimensions_that_do_nothing_are_free() -> None:
    network = own_decoder()
    with torch.no_grad():
        for block in network.model.layers:
            attention = block.self_attn
            for layer in (attention.k_proj, attention.v_proj):  # pairs 1 and 2 of three, and values 2 to 6
                heads = layer.weight.view(-1, 6, 24)
                heads[:, [1, 2, 4, 5] if layer is attention.k_proj else slice(2, 6)] = 0
    narrow = pruned(AttentionSvd(keep=0.3), network, TOKENS)
    assert narrow.model.layers[0].self_attn.v_proj.out_features == 2 * 2
    torch.testing.assert_close(answers(narrow, TOKENS), answers(network, TOKENS), rtol=1e-3, atol=1e-4)


def test_a_past_of_keys_gives_what_the_whole_text_gives() -> None:
    narrow = pruned(ModeGpt(keep=0.6), own_decoder(), TOKENS)
    attention = narrow.model.layers[0].self_attn
    x = torch.randn(2, 9, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, keys, values = attention.query_key_value(x[:, :8], 0)
        torch.testing.assert_close(attention(x[:, 8:], (keys, values)), attention(x)[:, 8:])


@pytest.mark.parametrize("cls", [ModeGpt, AttentionSvd])
@pytest.mark.parametrize("kind", KINDS)
def test_less_of_everything_loses_more_and_nothing_at_the_whole(kind: str, cls: type[ModeGpt]) -> None:
    network = KINDS[kind]()
    dense = answers(network, given(kind))
    lost = [
        float((answers(pruned(cls(keep=k), network, given(kind)), given(kind)) - dense).norm()) for k in (0.3, 0.6, 1.0)
    ]
    assert lost[0] > lost[1] > lost[2] == 0
    small = pruned(cls(keep=0.5), network, given(kind))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in network.parameters())


def test_a_better_product_loses_less_than_leaving_dimensions_out() -> None:
    network = vision()
    task = task_for(network, given("vision"))
    block = task.anatomy.blocks[0]
    gram = grams_of(network, task, [block.attention.module])[block.attention.module]
    maps, moment = maps_of(network, block.attention), moment_with_one(gram)
    value, outputs = maps.value[0], maps.output[0]
    found, back = narrow_values(value, outputs, moment, 4)
    change = back[0] @ found - outputs[0] @ value
    plain = outputs[0][:, :4] @ value[:4] - outputs[0] @ value
    assert float((change @ moment * change).sum()) < float((plain @ moment * plain).sum())


@pytest.mark.parametrize("cls", [ModeGpt, AttentionSvd])
def test_few_samples_dead_inputs_and_half_precision_stay_finite(cls: type[ModeGpt]) -> None:
    network = own_decoder().bfloat16()
    with torch.no_grad():
        network.model.layers[0].input_layernorm.weight[:5] = 0
    narrow = pruned(cls(keep=0.5), network, TOKENS[:1, :6])
    assert {p.dtype for p in narrow.parameters()} == {torch.bfloat16}
    assert answers(narrow, TOKENS).isfinite().all()


@pytest.mark.parametrize("kind", ["Qwen2", "OPT", "GPTNeoX"])
def test_attentions_that_are_called_in_other_ways_are_left_with_the_reason(kind: str) -> None:
    network = of_transformers(kind)
    with pytest.raises(NotApplicable, match=r"not known|only a part of its dimensions"):
        pruned(AttentionSvd(), network, TOKENS)
    narrow = pruned(ModeGpt(keep=0.5), network, TOKENS)  # its MLPs are narrowed all the same
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in network.parameters())


def test_a_network_without_an_anatomy_is_declined() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    for method in (ModeGpt(), AttentionSvd()):
        with pytest.raises(NotApplicable, match="anatomy of this network is not known"):
            method.prune(network, task_for(network, IMAGES))
    with pytest.raises(ValueError, match="round_to must be even, got 3"):
        ModeGpt(round_to=3).check()


@pytest.mark.parametrize("cls", [ModeGpt, AttentionSvd])
def test_the_kit_finds_nothing(cls: type[ModeGpt]) -> None:
    assert check_method(cls, speed=False) == []
