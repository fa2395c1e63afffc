"""What every modern matrix method promises: sane from poor statistics, one answer in any order, its definition."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from prunebench import Method
from prunebench.measure.counts import layer_shapes
from prunebench.trial.task import TrialTask
from prunebench_methods.blocks.drop_blocks import DropBlocks, DropBlocksRandom
from prunebench_methods.blocks.heads import Heads, HeadsRandom
from prunebench_methods.blocks.mlp_width import MlpWidth, MlpWidthRandom
from prunebench_methods.blocks.mlp_width_math import ranked
from prunebench_methods.blocks.modegpt import AttentionRandom, AttentionSvd, ModeGpt, ModeGptRandom
from prunebench_methods.blocks.slice_residual import SliceResidual, SliceResidualRandom
from prunebench_methods.low_rank.basis_sharing import BasisSharing
from prunebench_methods.low_rank.basis_sharing_math import factors
from prunebench_methods.low_rank.random_directions import LowRankRandom
from prunebench_methods.low_rank.two_sided import TwoSidedLowRank
from prunebench_methods.low_rank.whitened import Asvd, FisherSvd, WhitenedSvd
from prunebench_methods.masks.alps import Alps
from prunebench_methods.masks.masked_refit import MaskedRefit
from prunebench_methods.masks.random_masks import Random
from prunebench_methods.masks.random_pattern import RandomPattern
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.masks.wanda import Wanda
from prunebench_methods.quantization.awq import AWQ
from prunebench_methods.quantization.gptq import GPTQ
from prunebench_methods.quantization.rtn import RoundToNearest
from prunebench_methods.shared.grams import Gram
from prunebench_methods.shared.importance import ALIKE
from prunebench_objectives.language_modelling import LanguageModelling
from test_blocks import TOKENS, answers, main_directions, own_decoder, task_for
from torch import Tensor, nn

Array = NDArray[np.float64]
METHODS: list[Method] = [
    WhitenedSvd(keep=0.6),
    WhitenedSvd(keep=0.6, form="pivot"),
    Asvd(keep=0.6),
    FisherSvd(keep=0.6),
    TwoSidedLowRank(keep=0.6),
    BasisSharing(keep=0.5),
    Wanda(keep=0.5),
    SparseGPT(keep=0.5),
    Alps(keep=0.5, rounds=30),
    GPTQ(bits=4, group=8),
    AWQ(bits=4, group=8, clip=False),
    MlpWidth(keep=0.5),
    MlpWidth(keep=0.5, score="leverage"),
    MlpWidth(keep=0.5, repair_mean=True),
    Heads(keep=0.5),
    Heads(keep=0.5, score="fluctuation", refit=False, repair_mean=True),
    ModeGpt(keep=0.5),
    AttentionSvd(keep=0.5),
    SliceResidual(keep=0.67),
    DropBlocks(drop=1),
]


def language_task(network: nn.Module, tokens: Tensor) -> TrialTask:
    """A task of next tokens, all layers known."""
    task = task_for(network, tokens)
    task.objective, task.outputs, task.shapes = LanguageModelling(), 19, layer_shapes(network, tokens[:1])
    return task


def pruned(method: Method, network: nn.Module, task: TrialTask) -> nn.Module:
    return method.prune(copy.deepcopy(network), task)


def poor() -> nn.Module:
    """A network whose layers are given three directions, some of them never, one of them a thousand times as large."""
    network = own_decoder()
    basis = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.model.embed_tokens.weight.copy_(network.model.embed_tokens.weight @ basis @ basis.T / 24)
        for block in network.model.layers:
            block.input_layernorm.weight[:5] = 0
            block.input_layernorm.weight[7] *= 1e3
    return network


@pytest.mark.parametrize("kind", ["few tokens", "few directions"])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_poor_statistics_give_finite_weights_and_sane_answers(method: Method, kind: str) -> None:
    network, tokens = (own_decoder(), TOKENS[:1, :6]) if kind == "few tokens" else (poor(), TOKENS)
    after = pruned(method, network, language_task(network, tokens))
    assert all(bool(parameter.isfinite().all()) for parameter in after.parameters())
    dense, found = answers(network, TOKENS), answers(after, TOKENS)
    assert float((found - dense).norm()) < 3 * float(dense.norm())


@pytest.mark.parametrize("method", [Heads(keep=0.5), DropBlocks(drop=1)], ids=str)
def test_bfloat16_comes_back_as_it_went_in(method: Method) -> None:
    network = own_decoder().bfloat16()
    after = pruned(method, network, language_task(network, TOKENS))
    assert {parameter.dtype for parameter in after.parameters()} == {torch.bfloat16}
    assert answers(after, TOKENS).dtype == torch.bfloat16 and answers(after, TOKENS).isfinite().all()


@pytest.fixture(scope="module")
def alone() -> list[nn.Module]:
    """What each method makes of the network when nothing ran before it."""
    network = own_decoder()
    return [pruned(method, network, language_task(network, TOKENS)) for method in METHODS]


def test_what_others_left_in_memory_changes_nothing_in_any_order(alone: list[nn.Module]) -> None:
    network = own_decoder()
    shared = language_task(network, TOKENS)
    seed = shared.generator.initial_seed()
    for method, expected in reversed(list(zip(METHODS, alone, strict=True))):
        shared.generator.manual_seed(seed)
        found = pruned(method, network, shared).state_dict()
        assert found.keys() == expected.state_dict().keys()
        assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items()), method


def test_dense_statistics_do_not_depend_on_the_order_of_samples(alone: list[nn.Module]) -> None:
    network = own_decoder()
    turned = language_task(network, TOKENS.flip(0))
    for method, expected in zip(METHODS, alone, strict=True):
        if isinstance(method, FisherSvd | TwoSidedLowRank):  # they draw labels, one after another
            continue
        found, first = answers(pruned(method, network, turned), TOKENS), answers(expected, TOKENS)
        changed = float((found - first).norm())
        assert changed < 0.03 * float((first - answers(network, TOKENS)).norm()), method


def gram_of(inputs: Array) -> Gram:
    gram = Gram()
    gram.add(torch.tensor(inputs)[:, None])
    return gram


@pytest.mark.parametrize("method", [WhitenedSvd(rank=4, centred=False), Asvd(rank=4)], ids=str)
def test_inputs_alike_and_independent_give_the_plain_decomposition(method: WhitenedSvd | Asvd) -> None:
    weight = np.random.default_rng(1).standard_normal((12, 32))
    alike = np.linalg.qr(np.random.default_rng(3).standard_normal((64, 32)))[0] * 3
    left, right = method.product(torch.tensor(weight), gram_of(alike), ALIKE).cut(4, torch.tensor(weight))
    u, s, v = np.linalg.svd(weight, full_matrices=False)
    np.testing.assert_allclose((left @ right).numpy(), (u[:, :4] * s[:4]) @ v[:4], atol=1e-6)


@pytest.mark.parametrize("method", [GPTQ(bits=3), AWQ(bits=3, clip=False)], ids=str)
def test_inputs_alike_and_independent_give_rounding_to_the_nearest(method: GPTQ | AWQ) -> None:
    weight = torch.tensor(np.random.default_rng(1).standard_normal((12, 32)))
    alike = gram_of(np.linalg.qr(np.random.default_rng(3).standard_normal((64, 32)))[0] * 3)
    found, nearest = (grid.values(codes) for grid, codes in (m.grid(weight, alike, 0) for m in (method, rounding())))
    torch.testing.assert_close(found, nearest)


def rounding() -> RoundToNearest:
    return RoundToNearest(bits=3)


@pytest.mark.parametrize("count", [80, 8])
def test_leverage_chooses_as_explicit_inverses_do(count: int) -> None:
    rows = np.random.default_rng(0).standard_normal((count, 12)) @ np.random.default_rng(1).standard_normal((12, 12))
    moment = rows.T @ rows / count
    scores = (moment @ np.linalg.inv(moment + np.trace(moment) / 12 * np.eye(12))).diagonal()
    found = ranked("leverage", torch.tensor(moment), torch.ones(3, 12))[:5]
    assert found.tolist() == np.argsort(-scores)[:5].tolist()


def test_a_shared_basis_is_whitening_by_cholesky_of_the_stack() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(12, 8).double() for _ in range(2)]
    inputs = [np.random.default_rng(n).standard_normal((60, 12)) * np.logspace(-1, 1, 12) + 1 for n in range(2)]
    lefts, right = factors(layers, [gram_of(x) for x in inputs], 3)
    stack = np.concatenate([layer.weight.detach().numpy() for layer in layers])
    root = np.linalg.cholesky(sum(x.T @ x for x in inputs))
    u, s, v = np.linalg.svd(stack @ root, full_matrices=False)
    expected = (u[:, :3] * s[:3]) @ v[:3] @ np.linalg.inv(root)
    np.testing.assert_allclose((torch.cat(lefts) @ right).numpy(), expected, atol=1e-7)


def test_what_reads_and_writes_the_stream_is_cut_to_one_subspace() -> None:
    network = own_decoder()
    kept = main_directions(network, 16)
    narrow = pruned(SliceResidual(keep=0.67), network, language_task(network, TOKENS))
    (table, block, _), (new_table, new_block, new_head) = (parts(each) for each in (network, narrow))
    up, down, scale, head = (block[k] for k in ("up", "down", "scale", "head"))
    between = kept @ kept.T  # signs of directions cancel in products of a writer with a reader
    for reader, dense in ((new_block["up"], up * scale), (new_head, head)):
        np.testing.assert_allclose(new_table @ reader.T, table @ between @ dense.T, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(reader @ new_block["down"], dense @ between @ down, rtol=1e-3, atol=1e-3)


def parts(network: nn.Module) -> tuple[Array, dict[str, Array], Array]:
    """Embeddings, the second block's MLP with its norm's scale and the scaled head, and the head as it is."""
    block, norm = network.model.layers[1], network.model.norm
    arrays = {"up": block.mlp.up_proj.weight, "down": block.mlp.down_proj.weight}
    if isinstance(norm, nn.RMSNorm):
        arrays |= {"scale": block.post_attention_layernorm.weight, "head": network.lm_head.weight * norm.weight}
    found = {name: value.detach().double().numpy() for name, value in arrays.items()}
    table, head = (module.weight.detach().double().numpy() for module in (network.model.embed_tokens, network.lm_head))
    return table, found, head


def inputs_and_outputs(network: nn.Module, name: str) -> tuple[Array, Array]:
    """What a layer is given and answers, as rows."""
    seen: list[Array] = []
    layer = network.get_submodule(name)
    hook = lambda m, args, out: seen.extend(v.detach().flatten(0, 1).double().numpy() for v in (args[0], out))  # noqa: E731
    handle = layer.register_forward_hook(hook)
    answers(network, TOKENS)
    handle.remove()
    return seen[0], seen[1]


FLAP = {"score": "fluctuation", "refit": False, "repair_mean": True}
READERS = {"mlp.down_proj": MlpWidth, "self_attn.o_proj": Heads}


@pytest.mark.parametrize("reader", READERS)
def test_fluctuations_choose_and_a_bias_answers_the_mean_as_published(reader: str) -> None:
    network, name = own_decoder(), f"model.layers.0.{reader}"
    rows, _ = inputs_and_outputs(network, name)
    weight = network.get_submodule(name).weight.detach().double().numpy()
    scores, heads = rows.var(0) * np.square(weight).sum(0), 2 if "o_proj" in reader else rows.shape[1]
    best = np.sort(np.argsort(-scores.reshape(heads, -1).sum(1), kind="stable")[: heads // 2])
    kept = np.arange(rows.shape[1]).reshape(heads, -1)[best].ravel()
    gone = np.setdiff1d(np.arange(rows.shape[1]), kept)
    narrow = pruned(READERS[reader](keep=0.5, **FLAP), network, language_task(network, TOKENS)).get_submodule(name)
    np.testing.assert_allclose(narrow.weight.detach().numpy(), weight[:, kept], atol=1e-7)
    np.testing.assert_allclose(narrow.bias.detach().numpy(), weight[:, gone] @ rows[:, gone].mean(0), atol=1e-5)


@pytest.mark.parametrize("reader", READERS)
def test_deviations_refitted_lose_least_and_are_least_squares(reader: str) -> None:
    network, name = own_decoder(), f"model.layers.0.{reader}"
    rows, dense = inputs_and_outputs(network, name)
    lost = {}
    for repair in ({"repair_mean": True}, {}, {"refit": False, "repair_mean": True}, {"refit": False}):
        cls = READERS[reader]
        layer = pruned(cls(keep=0.5, ridge=1e-12, **repair), network, language_task(network, TOKENS)).get_submodule(
            name
        )
        kept = kept_inputs(layer, rows, reader, network)
        bias = 0.0 if layer.bias is None else layer.bias.detach().double().numpy()
        answer = rows[:, kept] @ layer.weight.detach().double().numpy().T + bias
        lost[tuple(repair)] = np.square(answer - dense).sum()
        if repair == {"repair_mean": True}:
            seen = np.column_stack([rows[:, kept], np.ones(len(rows))])
            best = seen @ np.linalg.lstsq(seen, dense, rcond=None)[0]
            np.testing.assert_allclose(lost[tuple(repair)], np.square(best - dense).sum(), rtol=1e-3)
    both, refit, repair_alone, none = lost.values()
    assert both < refit < none and both < repair_alone < none


def kept_inputs(layer: nn.Module, rows: Array, reader: str, network: nn.Module) -> Array:
    """The inputs that the defaults keep, by their definition."""
    weight = network.get_submodule(f"model.layers.0.{reader}").weight.detach().double().numpy()
    scores, heads = np.square(rows).mean(0) * np.square(weight).sum(0), 2 if "o_proj" in reader else rows.shape[1]
    best = np.sort(np.argsort(-scores.reshape(heads, -1).sum(1), kind="stable")[: heads // 2])
    found: Array = np.arange(rows.shape[1]).reshape(heads, -1)[best].ravel()
    assert len(found) == layer.weight.shape[1]
    return found


CONTROLS = {  # of every kind of structure: the method, and the control of the same shape
    "low rank": (WhitenedSvd(keep=0.6), LowRankRandom(keep=0.6)),
    "rows and coefficients": (WhitenedSvd(keep=0.6, form="pivot"), LowRankRandom(keep=0.6, form="pivot")),
    "widths": (MlpWidth(keep=0.5), MlpWidthRandom(keep=0.5)),
    "heads": (Heads(keep=0.5), HeadsRandom(keep=0.5)),
    "blocks": (DropBlocks(drop=1), DropBlocksRandom(drop=1)),
    "stream": (SliceResidual(keep=0.67), SliceResidualRandom(keep=0.67)),
    "weights": (Wanda(keep=0.5, pattern="layer"), Random(keep=0.5)),
    "weights of rows": (Wanda(keep=0.4), RandomPattern(keep=0.4)),
    "n of m weights": (SparseGPT(pattern="2:4"), RandomPattern(pattern="2:4")),
    "weights by layers": (Wanda(keep=0.4, allocation="owl"), RandomPattern(keep=0.4, allocation="owl")),
    "refitted": (MaskedRefit(pattern="2:4"), MaskedRefit(of="random_pattern", pattern="2:4")),
    "heads' dimensions": (AttentionSvd(keep=0.5), AttentionRandom(keep=0.5)),
    "modules": (ModeGpt(keep=0.5), ModeGptRandom(keep=0.5)),
}


@pytest.mark.parametrize("kind", CONTROLS)
def test_every_structure_has_a_random_control_of_its_shape(kind: str) -> None:
    method, control = CONTROLS[kind]
    network = own_decoder()
    if not isinstance(control, MaskedRefit):  # it draws where the method does whose mask it takes
        assert type(control).control and not type(method).control and type(control).stochastic
    after, random = (pruned(each, network, language_task(network, TOKENS)) for each in (method, control))
    shapes = [{name: value.shape for name, value in each.named_parameters()} for each in (after, random)]
    assert shapes[0] == shapes[1]
    assert sum(int(p.count_nonzero()) for p in after.parameters()) == sum(
        int(p.count_nonzero()) for p in random.parameters()
    )
    again = pruned(control, network, language_task(network, TOKENS))
    assert torch.equal(answers(random, TOKENS), answers(again, TOKENS)), "one seed draws one network"
    seeds = [task_for(network, TOKENS, seed=seed) for seed in (1, 2, 3)]
    for task in seeds:
        task.objective, task.outputs, task.shapes = LanguageModelling(), 19, layer_shapes(network, TOKENS[:1])
    drawn = [answers(pruned(control, network, task), TOKENS) for task in seeds]
    assert any(not torch.equal(answers(random, TOKENS), each) for each in drawn)


def test_chosen_directions_lose_less_than_drawn_ones() -> None:
    weight = np.random.default_rng(1).standard_normal((12, 32))
    rows = np.random.default_rng(0).standard_normal((200, 32)) * np.logspace(-1, 1, 32)
    for side in (weight, weight.T):
        x, dense = torch.tensor(rows[:, : side.shape[1]]), torch.tensor(side)
        lost = []
        for method in (WhitenedSvd(rank=4, centred=False), LowRankRandom(rank=4)):
            left, right = method.product(dense, gram_of(x.numpy()), ALIKE).cut(4, dense)
            lost.append(float((x @ (left @ right - dense).T).square().sum()))
        assert lost[0] < lost[1]
        left, right = LowRankRandom(rank=12).product(dense, gram_of(x.numpy()), ALIKE).cut(12, dense)
        torch.testing.assert_close(left @ right, dense)


@pytest.mark.parametrize("pattern", ["row", "2:4", "layer"])
def test_drawn_masks_keep_as_many_in_every_row_and_favour_none(pattern: str) -> None:
    weight, keep = torch.ones(64, 32), None if pattern == "2:4" else 0.5
    method = RandomPattern(keep=keep, pattern=pattern)
    masks = torch.stack([method.weights(weight, Gram(), 0, seed)[1] for seed in range(200)]).numpy()
    assert (masks.sum((1, 2)) == 1024).all()
    if pattern != "layer":
        assert (masks.reshape(200, 64, -1, 4 if pattern == "2:4" else 32).mean(-1) == 0.5).all()
    assert abs(masks.mean(0) - 0.5).max() < 0.2  # 5 deviations of 200 draws are 0.18
    assert len({mask.tobytes() for mask in masks}) == 200


def test_layers_of_one_shape_and_groups_of_one_layer_draw_their_own() -> None:
    network = own_decoder()
    after = pruned(RandomPattern(pattern="2:4"), network, language_task(network, TOKENS))
    masks = [
        after.get_submodule(f"model.layers.{n}.mlp.{part}_proj").weight != 0 for n in (0, 1) for part in ("up", "gate")
    ]
    assert all(not torch.equal(masks[0], other) for other in masks[1:])


def test_drawn_dimensions_are_those_of_the_heads_with_their_partners() -> None:
    network = own_decoder()
    narrow = pruned(AttentionRandom(keep=0.5), network, language_task(network, TOKENS))
    before, after = network.model.layers[0].self_attn, narrow.model.layers[0].self_attn
    heads, groups, size, kept = 4, 2, 6, 4
    query, key, value = (maps(before, name, size) for name in "qkv")
    new_query, new_key, new_value = (maps(after, name, kept) for name in "qkv")
    output = before.o_proj.weight.detach().numpy().reshape(24, heads, size)
    new_output = after.o_proj.weight.detach().numpy().reshape(24, heads, kept)
    for group in range(groups):
        at, of_values = places(new_key[group], key[group]), places(new_value[group], value[group])
        assert at[: kept // 2] == [place - size // 2 for place in at[kept // 2 :]], "pairs turn together"
        for head in (2 * group, 2 * group + 1):
            np.testing.assert_array_equal(new_query[head], query[head][at])
            np.testing.assert_array_equal(new_output[:, head], output[:, head][:, of_values])
        angles = 10_000.0 ** (-np.array(at[: kept // 2]) / (size // 2))
        np.testing.assert_allclose(after.angles[group].numpy(), angles, rtol=1e-6)


def maps(attention: nn.Module, name: str, size: int) -> NDArray[np.float32]:
    """A map's rows by head."""
    found: NDArray[np.float32] = getattr(attention, f"{name}_proj").weight.detach().numpy().reshape(-1, size, 24)
    return found


def places(rows: NDArray[np.float32], of: NDArray[np.float32]) -> list[int]:
    """Which rows of a head these are, each of them one."""
    return [int(np.flatnonzero((of == row).all(1)).item()) for row in rows]


def test_drawn_dimensions_of_heads_lose_more_than_decomposed_ones() -> None:
    network = own_decoder()
    dense = answers(network, TOKENS)
    lost = {}
    for method in (AttentionSvd(keep=0.5), AttentionRandom(keep=0.5)):
        after = pruned(method, network, language_task(network, TOKENS))
        lost[method.name] = float((answers(after, TOKENS) - dense).square().sum())
    assert lost["attention_svd"] < lost["attention_random"]
