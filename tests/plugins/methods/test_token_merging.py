"""Token merging: its definition in numpy, what is exact in it, its products, and where it declines."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from prunebench import Method, NotApplicable
from prunebench.measure.counts import counts
from prunebench.testing import bench, check_method
from prunebench.trial.task import TrialTask
from prunebench_methods.blocks.token_merging import TokenMerging, TokenMergingRandom
from prunebench_models.small_images import SmallVit
from test_blocks import TOKENS, answers, own_decoder, task_for
from torch import Tensor, nn

Array = NDArray[np.float64]
WIDTH, HEADS, INNER, DEPTH, PATCHES = 24, 3, 40, 3, 16
SIZE = {"img_size": 16, "patch_size": 4, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "num_classes": 5}
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def torchvision() -> nn.Module:
    transformer = pytest.importorskip("torchvision.models.vision_transformer")
    network = transformer.VisionTransformer(16, 4, DEPTH, HEADS, WIDTH, INNER, num_classes=5)
    nn.init.normal_(network.heads.head.weight)
    return network.eval()


def timm(**options: object) -> nn.Module:
    network = pytest.importorskip("timm.models.vision_transformer").VisionTransformer(**SIZE, **options)
    nn.init.normal_(network.head.weight)
    return network.eval()


def small() -> nn.Module:
    return SmallVit(patch=4, width=WIDTH, depth=DEPTH, heads=HEADS, image_size=16).build(5).eval()


MADE = {
    "torchvision": torchvision,
    "timm": timm,
    "timm, with norms of queries and keys": lambda: timm(qk_norm=True, init_values=0.5),
    "small_vit": small,
}


def made(kind: str) -> nn.Module:
    torch.manual_seed(1)
    network: nn.Module = MADE[kind]()
    return network


def task_of(network: nn.Module, images: Tensor = IMAGES, seed: int = 0) -> TrialTask:
    task = task_for(network, images, seed)
    task.example_input = images
    return task


def merged(method: Method, network: nn.Module, images: Tensor = IMAGES, seed: int = 0) -> nn.Module:
    return method.prune(copy.deepcopy(network), task_of(network, images, seed))


def in_numpy(network: nn.Module, x: Array, count: int) -> Array:
    """The tokens of one image (T, D) through torchvision's blocks, `count` pairs merged in each, one after another."""

    def linear(layer: nn.Module, inputs: Array) -> Array:
        return inputs @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()

    def module(layer: nn.Module, inputs: Array) -> Array:
        return layer.double()(torch.tensor(inputs)).detach().numpy()

    sizes = np.ones(len(x))
    for block in copy.deepcopy(network).double().encoder.layers:
        packed = block.self_attention
        flat = module(block.ln_1, x) @ packed.in_proj_weight.detach().numpy().T + packed.in_proj_bias.detach().numpy()
        query, key, value = (part.reshape(len(x), HEADS, -1) for part in np.split(flat, 3, 1))
        weight = np.exp(np.einsum("ihd,jhd->hij", query, key) / np.sqrt(WIDTH / HEADS)) * sizes
        mixed = np.einsum("hij,jhd->ihd", weight / weight.sum(2, keepdims=True), value).reshape(len(x), -1)
        x, keys = x + linear(packed.out_proj, mixed), key.mean(1)
        keys = keys / np.linalg.norm(keys, axis=1, keepdims=True)
        evens, odds = list(range(2, len(x), 2)), list(range(1, len(x), 2))
        best = {i: max(odds, key=lambda j: keys[i] @ keys[j]) for i in evens}
        going = sorted(evens, key=lambda i: -(keys[i] @ keys[best[i]]))[:count]
        joined = [[j, *(i for i in going if best[i] == j)] for j in odds]
        groups = [[0], *([i] for i in evens if i not in going), *joined]
        x = np.array([(sizes[group, None] * x[group]).sum(0) / sizes[group].sum() for group in groups])
        sizes = np.array([sizes[group].sum() for group in groups])
        x = x + module(block.mlp, module(block.ln_2, x))
    return x


def test_it_is_what_fifteen_lines_of_numpy_say() -> None:
    network = made("torchvision")
    after = merged(TokenMerging(tokens=3), network)
    seen: list[Tensor] = []
    handle = network.encoder.layers.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    answers(network, IMAGES)
    handle.remove()
    found: list[Tensor] = []
    after.encoder.layers.register_forward_hook(lambda module, args, output: found.append(output))
    answers(after, IMAGES)
    for image in range(len(IMAGES)):
        expected = in_numpy(network, seen[0][image].double().numpy(), 3)
        assert found[0][image].shape == expected.shape == (1 + PATCHES - 3 * DEPTH, WIDTH)
        np.testing.assert_allclose(found[0][image].numpy(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", MADE)
def test_alike_tokens_merge_at_no_loss_if_attention_counts_them(kind: str) -> None:
    network = made(kind)
    for name, parameter in network.named_parameters():
        if name.endswith(("pos_embedding", "pos_embed", "positions")):
            nn.init.zeros_(parameter)
    flat = IMAGES[:, :, :1, :1].expand(-1, -1, 16, 16)
    dense = answers(network, flat)
    after = merged(TokenMerging(share=0.5), network, flat)
    torch.testing.assert_close(answers(after, flat), dense, rtol=1e-4, atol=1e-4)
    uncounted = merged(TokenMerging(share=0.5, weighted=False), network, flat)
    assert float((answers(uncounted, flat) - dense).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", MADE)
def test_no_weight_changes_and_merging_none_leaves_the_answers(kind: str) -> None:
    network = made(kind)
    assert torch.equal(answers(merged(TokenMerging(tokens=0), network), IMAGES), answers(network, IMAGES))
    after = merged(TokenMerging(tokens=1), network)
    assert sum(p.numel() for p in after.parameters()) == sum(p.numel() for p in network.parameters())
    assert {p.data_ptr() for p in after.parameters()}.isdisjoint(p.data_ptr() for p in network.parameters())
    for block in after.modules():
        if hasattr(block, "count") and hasattr(block, "is_last"):
            block.count = 0
    torch.testing.assert_close(answers(after, IMAGES), answers(network, IMAGES), rtol=1e-4, atol=1e-5)


def products(tokens: int, count: int, inner: int, is_drawn: bool) -> int:
    """Of one block that is given so many tokens and merges so many pairs."""
    left, behind = (tokens - 1) // 2, tokens // 2  # at even places behind the class token, and at odd ones
    attention = 4 * tokens * WIDTH**2 + 2 * tokens**2 * WIDTH
    matching = 0 if is_drawn else left * behind * WIDTH // HEADS
    return attention + matching + behind * count * (WIDTH + 1) + 2 * (tokens - count) * WIDTH * inner


@pytest.mark.parametrize("kind", ["torchvision", "timm", "small_vit"])
@pytest.mark.parametrize("method", [TokenMerging(tokens=3), TokenMergingRandom(tokens=3)], ids=str)
def test_products_are_counted_with_those_of_the_matching(method: Method, kind: str) -> None:
    network = made(kind)
    inner = INNER if kind == "torchvision" else 4 * WIDTH
    found = counts(merged(method, network), IMAGES[:1], network)
    ends = PATCHES * 48 * WIDTH + WIDTH * 5  # the patches' convolution, and the head
    is_drawn = isinstance(method, TokenMergingRandom)
    expected = sum(products(1 + PATCHES - 3 * place, 3, inner, is_drawn) for place in range(DEPTH))
    assert found.mac_count == expected + ends
    assert found.parameter_count == counts(network, IMAGES[:1]).parameter_count


def test_random_pairs_are_drawn_once_by_the_seed() -> None:
    network = made("torchvision")
    first, again, other = (answers(merged(TokenMergingRandom(share=0.25), network, seed=s), IMAGES) for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_bfloat16_stays_and_gradients_reach_every_weight() -> None:
    network = made("torchvision")
    after = merged(TokenMerging(share=0.25), network.bfloat16(), IMAGES.bfloat16())
    found = after(IMAGES.bfloat16())
    assert found.dtype == torch.bfloat16 and found.isfinite().all()
    found.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in after.parameters())


class Loop(nn.ModuleList):
    """Blocks that are called one by one."""

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x)
        return x


def test_what_it_cannot_do_is_declined_with_the_reason() -> None:
    for method, network, why in (
        (TokenMerging(tokens=2), timm(global_pool="avg"), "reads all tokens"),
        (TokenMerging(tokens=2), nn.Sequential(nn.Flatten(), nn.Linear(768, 5)), "anatomy of this network is not"),
        (TokenMerging(share=0.01), made("torchvision"), "of its 17 tokens the settings merge none"),
    ):
        with pytest.raises(NotApplicable, match=why):
            merged(method, network)
    with pytest.raises(NotApplicable, match="tokens of a vocabulary"):
        TokenMerging(tokens=2).prune(own_decoder(), task_for(own_decoder(), TOKENS))
    looped = made("torchvision")
    looped.encoder.layers = Loop(looped.encoder.layers)
    with pytest.raises(NotApplicable, match=r"one nn\.Sequential"):
        merged(TokenMerging(tokens=2), looped)
    with pytest.raises(ValueError, match="give exactly one of tokens, share"):
        TokenMerging(tokens=2, share=0.2).check()


@pytest.mark.parametrize("cls", [TokenMerging, TokenMergingRandom])
def test_the_kit_finds_nothing_on_a_vision_transformer(cls: type[Method], monkeypatch: pytest.MonkeyPatch) -> None:
    def transformer() -> nn.Module:
        vision = pytest.importorskip("torchvision.models.vision_transformer")
        network = vision.VisionTransformer(8, 2, 2, 2, 12, 20, num_classes=bench.CLASSES)
        for parameter in network.parameters():  # some start at zero
            parameter.data.add_(0.1 * torch.randn(parameter.shape))
        return network

    monkeypatch.setattr(bench, "NETWORKS", {"vision transformer": transformer})
    assert check_method(cls, speed=False) == []
