"""Blocks and MLP widths: exact where nothing is lost, least squares where something is, smaller shapes throughout."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from prunebench import NotApplicable
from prunebench.anatomy.recognised import recognised
from prunebench.testing import check_method
from prunebench.testing.bench import task as made_task
from prunebench.trial.task import Memory, TrialTask
from prunebench_methods.blocks import METHODS
from prunebench_methods.blocks.drop_blocks import DropBlocks, DropBlocksRandom
from prunebench_methods.blocks.heads import Heads
from prunebench_methods.blocks.heads_math import inputs_of
from prunebench_methods.blocks.mlp_width import MlpWidth, MlpWidthRandom
from prunebench_methods.blocks.mlp_width_math import ranked, refitted
from prunebench_methods.blocks.parts import grams_of_parts
from prunebench_methods.shared.influence import distances
from prunebench_models import small_vit_layers
from prunebench_models.decoder import Decoder, Sizes, anatomy_of, initialised
from prunebench_models.small_vit_layers import VisionTransformer
from torch import Tensor, nn

TOKENS = torch.randint(19, (12, 16), generator=torch.Generator().manual_seed(3))


def own_decoder() -> nn.Module:
    torch.manual_seed(0)
    network = initialised(Decoder(Sizes(19, 3, 24, 4, 2, 40)), 3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
    return network.eval()


def of_transformers(family: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    size = {"vocab_size": 19, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
    settings = {
        "Qwen2": {**size, "intermediate_size": 40, "num_key_value_heads": 2},
        "OPT": {**size, "ffn_dim": 40, "word_embed_proj_dim": 24},
        "GPT2": {"vocab_size": 19, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_inner": 40},
        "GPTNeoX": {**size, "intermediate_size": 40},
    }[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(use_cache=False, **settings)
    return Logits(transformers.AutoModelForCausalLM.from_config(config)).eval()


class Logits(nn.Module):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(input_ids=tokens).logits


def vision() -> nn.Module:
    transformer = pytest.importorskip("torchvision.models.vision_transformer")
    torch.manual_seed(0)
    network = transformer.VisionTransformer(16, 8, 3, 3, 24, 40, num_classes=5)
    nn.init.normal_(network.heads.head.weight)
    return network.eval()


def small_vit() -> nn.Module:
    torch.manual_seed(0)
    network = VisionTransformer(5, 3, patch=8, patches=4, width=24, depth=3, heads=2, hidden=40)
    return network.eval()


MADE = {"decoder": own_decoder, "vision": vision, "small_vit": small_vit} | {
    name: lambda name=name: of_transformers(name) for name in ("Qwen2", "OPT", "GPT2", "GPTNeoX")
}
IMAGES = torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def task_for(network: nn.Module, inputs: Tensor, seed: int = 0) -> TrialTask:
    """A task whose calibration data are `inputs`."""
    task = made_task(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), seed)
    task.calibration, task.anatomy, task.memory = inputs, recognised(network), Memory()
    task.example_input = inputs[:1]
    if task.anatomy is None:
        task.anatomy = anatomy_of(network) or small_vit_layers.anatomy_of(network)
    return task


def pruned(method, network: nn.Module, inputs: Tensor, seed: int = 0) -> nn.Module:
    return method.prune(copy.deepcopy(network), task_for(network, inputs, seed))


def answers(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return network(inputs)


def main_directions(network: nn.Module, count: int) -> NDArray[np.float64]:
    """(width, count): those of largest second moment of what the norms read on TOKENS, every norm counting alike."""
    seen: list[Tensor] = []
    norms = [module for module in network.modules() if isinstance(module, nn.RMSNorm)]
    handles = [norm.register_forward_pre_hook(lambda m, args: seen.append(args[0].flatten(0, 1))) for norm in norms]
    answers(network, TOKENS)
    for handle in handles:
        handle.remove()
    moments = [x.double().numpy().T @ x.double().numpy() for x in seen]
    return np.linalg.eigh(sum(m / np.trace(m) for m in moments))[1][:, ::-1][:, :count]


@pytest.mark.parametrize("kind", MADE)
def test_channels_that_do_nothing_are_free(kind: str):
    network, inputs = MADE[kind](), inputs_of_kind(kind)
    task = task_for(network, inputs)
    for block in task.anatomy.blocks:
        down = network.get_submodule(block.mlp.down.module)
        with torch.no_grad():  # the last 20 of 40 inner channels are not read
            (down.weight[20:] if block.mlp.down.transposed else down.weight[:, 20:]).zero_()
    narrow = pruned(MlpWidth(keep=0.5), network, inputs)
    torch.testing.assert_close(answers(narrow, inputs), answers(network, inputs), rtol=1e-4, atol=1e-4)
    fewer = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in narrow.parameters())
    assert fewer >= 3 * 2 * 20 * 24


@pytest.mark.parametrize("kind", MADE)
def test_keeping_all_changes_nothing(kind: str):
    network, inputs = MADE[kind](), inputs_of_kind(kind)
    assert torch.equal(answers(pruned(MlpWidth(keep=1.0), network, inputs), inputs), answers(network, inputs))
    assert torch.equal(answers(pruned(DropBlocks(drop=0), network, inputs), inputs), answers(network, inputs))


def inner(network: nn.Module, inputs: Tensor) -> Tensor:
    """What the first block's down layer reads, as rows."""
    seen = []
    handle = network.model.layers[0].mlp.down_proj.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    answers(network, inputs)
    handle.remove()
    return seen[0].flatten(0, 1)


def test_moments_are_those_of_all_positions():
    network = own_decoder()
    task = task_for(network, TOKENS.repeat(9, 1))  # more than one batch
    parts = {block.name: block.mlp.down for block in task.anatomy.blocks}
    rows = inner(network, task.calibration).double().numpy()
    found = grams_of_parts(network, task, parts, "lm_head")["model.layers.0"].second(0)
    np.testing.assert_allclose(found.numpy(), rows.T @ rows / len(rows), rtol=1e-4, atol=1e-9)


def test_the_refit_is_that_of_least_squares():
    network = own_decoder()
    rows = inner(network, TOKENS).double()
    narrow = pruned(MlpWidth(keep=0.5, ridge=1e-12), network, TOKENS)
    weight = network.model.layers[0].mlp.down_proj.weight.detach().double()
    moment = rows.T @ rows / len(rows)
    chosen = ranked("activation", moment, weight)[:20].sort().values
    wanted = np.linalg.lstsq(rows[:, chosen].numpy(), (rows @ weight.T).numpy(), rcond=None)[0]
    found = narrow.model.layers[0].mlp.down_proj.weight.detach().double().numpy()
    np.testing.assert_allclose(found, wanted.T, rtol=1e-3, atol=1e-4)
    kept = network.model.layers[0].mlp.up_proj.weight[chosen]
    assert torch.equal(narrow.model.layers[0].mlp.up_proj.weight, kept)


def test_a_refit_never_answers_worse_than_leaving_channels_out():
    rows = torch.randn(200, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ torch.randn(
        30, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    down = torch.randn(7, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    moment = rows.T @ rows / 200
    for count in (1, 10, 29):
        chosen = ranked("activation", moment, down)[:count]
        fit = refitted(moment[chosen][:, chosen], moment[chosen] @ down.T, 1e-9)
        whole = rows @ down.T
        refit = (whole - rows[:, chosen] @ fit.T).norm()
        assert refit <= (whole - rows[:, chosen] @ down[:, chosen].T).norm()


@pytest.mark.parametrize("rank", [0, 3])
def test_dead_and_dependent_channels_give_finite_weights(rank: int):
    basis = torch.randn(12, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moment = basis @ basis.T
    down = torch.ones(4, 12, dtype=torch.float64)
    chosen = ranked("activation", moment, down)[:6]
    assert refitted(moment[chosen][:, chosen], moment[chosen] @ down.T, 1e-6).isfinite().all()


def test_the_activation_score_is_rms_times_reading_norm():
    moment = torch.diag(torch.tensor([4.0, 1.0, 9.0], dtype=torch.float64))
    down = torch.tensor([[1.0, 5.0, 0.1]])
    assert ranked("activation", moment, down).tolist() == [1, 0, 2]  # 2, 5, 0.3


def test_random_channels_depend_on_the_seed_alone():
    network = own_decoder()
    first, again, other = (
        pruned(MlpWidthRandom(keep=0.5), network, TOKENS, seed).model.layers[0].mlp.up_proj.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_widths_are_rounded_up_and_never_beyond_the_whole():
    assert MlpWidth(keep=0.5, round_to=16).width(40) == 32
    assert MlpWidth(keep=0.99, round_to=16).width(40) == 40
    assert MlpWidth(keep=0.3).width(10) == 3


@pytest.mark.parametrize("kind", MADE)
def test_a_block_that_adds_nothing_is_the_one_to_go(kind: str):
    network, inputs = MADE[kind](), inputs_of_kind(kind)
    task = task_for(network, inputs)
    for name in task.anatomy.blocks[1].writers:
        for parameter in network.get_submodule(name).parameters():
            nn.init.zeros_(parameter)
    shorter = pruned(DropBlocks(drop=1), network, inputs)
    assert len(task_for(shorter, inputs).anatomy.blocks) == 2
    torch.testing.assert_close(answers(shorter, inputs), answers(network, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # releases of transformers call the cache differently
@pytest.mark.parametrize("kind", ["Qwen2", "GPT2", "GPTNeoX"])
def test_caches_count_the_blocks_that_are_left(kind: str):
    network = of_transformers(kind)
    shorter = pruned(DropBlocks(drop=1), network, TOKENS).decoder
    assert shorter.config.num_hidden_layers == 2 and network.decoder.config.num_hidden_layers == 3
    with torch.no_grad():
        whole = shorter(input_ids=TOKENS, use_cache=False).logits
        first = shorter(input_ids=TOKENS[:, :15], use_cache=True)
        last = shorter(input_ids=TOKENS[:, 15:], past_key_values=first.past_key_values).logits
    torch.testing.assert_close(last[:, 0], whole[:, 15], rtol=1e-4, atol=1e-5)


def streams(network: nn.Module) -> list[Tensor]:
    seen: list[Tensor] = []
    handles = [b.register_forward_pre_hook(lambda m, args: seen.append(args[0])) for b in network.model.layers]
    handles.append(network.model.norm.register_forward_pre_hook(lambda m, args: seen.append(args[0])))
    answers(network, TOKENS)
    for handle in handles:
        handle.remove()
    return seen


def test_influence_and_angles_are_those_of_the_papers():
    network = own_decoder()
    task = task_for(network, TOKENS)
    x = [each.double() for each in streams(network)]
    cosine = [nn.functional.cosine_similarity(a, b, dim=-1) for a, b in itertools.pairwise(x)]
    found = distances(network, task, task.anatomy, 1, angular=False)
    torch.testing.assert_close(found, torch.stack([1 - c.mean() for c in cosine]))
    runs = [nn.functional.cosine_similarity(x[l][:, -1], x[l + 2][:, -1], dim=-1) for l in range(2)]  # noqa: E741
    wanted = torch.stack([(run.arccos() / torch.pi).mean() for run in runs])
    torch.testing.assert_close(distances(network, task, task.anatomy, 2, angular=True), wanted)


def test_angular_removal_takes_a_run_of_blocks():
    network = own_decoder()
    shorter = pruned(DropBlocks(drop=2, score="angular"), network, TOKENS)
    assert len(shorter.model.layers) == 1
    kept = shorter.model.layers[0].mlp.up_proj.weight
    assert any(torch.equal(kept, network.model.layers[place].mlp.up_proj.weight) for place in (0, 2))


def test_random_blocks_differ_between_seeds():
    network = own_decoder()
    kept = [pruned(DropBlocksRandom(drop=2), network, TOKENS, seed).model.layers[0] for seed in range(6)]
    assert len({float(block.mlp.up_proj.weight.detach().sum()) for block in kept}) > 1


@pytest.mark.parametrize("method", [MlpWidth(), DropBlocks()])
def test_a_network_without_an_anatomy_is_declined(method):
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    with pytest.raises(NotApplicable, match="anatomy of this network is not known"):
        method.prune(network, made_task(network))


def test_not_all_blocks_can_go():
    with pytest.raises(NotApplicable, match="3 blocks"):
        pruned(DropBlocks(drop=3), own_decoder(), TOKENS)


def test_half_precision_comes_back_as_it_went_in():
    network = own_decoder().bfloat16()
    narrow = pruned(MlpWidth(keep=0.5), network, TOKENS)
    assert {p.dtype for p in narrow.parameters()} == {torch.bfloat16}
    assert answers(narrow, TOKENS).isfinite().all()


@pytest.mark.parametrize("kind", ["decoder", "Qwen2", "OPT", "small_vit"])
def test_heads_that_are_not_read_are_free(kind: str):
    network, inputs = MADE[kind](), inputs_of_kind(kind)
    task = task_for(network, inputs)
    groups = task.anatomy.blocks[0].attention.key_value_heads
    for block in task.anatomy.blocks:
        with torch.no_grad():  # the second half of the heads is not read
            network.get_submodule(block.attention.output.module).weight[:, 12:].zero_()
    fewer = pruned(Heads(keep=0.5), network, inputs)
    torch.testing.assert_close(answers(fewer, inputs), answers(network, inputs), rtol=1e-4, atol=1e-4)
    assert task_for(fewer, inputs).anatomy.blocks[0].attention.key_value_heads == groups // 2
    assert torch.equal(answers(pruned(Heads(keep=1.0), network, inputs), inputs), answers(network, inputs))


def test_the_refit_of_heads_is_that_of_least_squares():
    network = own_decoder()
    fewer = pruned(Heads(keep=0.5, ridge=1e-12), network, TOKENS)
    seen: list[Tensor] = []
    output = network.model.layers[0].self_attn.o_proj
    handle = output.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    answers(network, TOKENS)
    handle.remove()
    rows, weight = seen[0].flatten(0, 1).double(), output.weight.detach().double()
    energy = (rows.square().mean(0) * weight.square().sum(0)).view(2, 12).sum(1)
    kept = slice(12) if energy[0] > energy[1] else slice(12, 24)
    wanted = np.linalg.lstsq(rows[:, kept].numpy(), (rows @ weight.T).numpy(), rcond=None)[0].T
    found = fewer.model.layers[0].self_attn.o_proj.weight.detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_queries_go_with_the_key_that_they_read():
    groups = inputs_of(recognised_attention(), torch.tensor([1]))
    assert groups.tolist() == list(range(12, 24))


def recognised_attention():
    return task_for(own_decoder(), TOKENS).anatomy.blocks[0].attention


@pytest.mark.parametrize("kind", ["vision", "GPTNeoX"])
def test_heads_in_one_matrix_are_declined(kind: str):
    with pytest.raises(NotApplicable, match="lie in one matrix"):
        pruned(Heads(), MADE[kind](), inputs_of_kind(kind))


def inputs_of_kind(kind: str) -> Tensor:
    return IMAGES if kind in ("vision", "small_vit") else TOKENS


# the kit's transformer has heads in one matrix, its embeddings are not known, and its head reads all positions
SEPARATE = [cls for cls in METHODS if not any(word in cls.name for word in ("heads", "slice", "token"))]


@pytest.mark.parametrize("cls", SEPARATE, ids=lambda cls: cls.name)
def test_the_kit_finds_nothing(cls):
    assert check_method(cls, speed=False) == []
