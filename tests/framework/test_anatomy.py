"""Anatomies, tested by what they say: the parts alone must compute what the network computes."""

from __future__ import annotations

import copy

import prunebench
import pytest
import torch
from prunebench import Anatomy, Attention, Part
from prunebench.anatomy.recognised import recognised
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

TOKENS = torch.arange(24).reshape(2, 12) % 19


def decoder(family: str) -> nn.Module:
    """A causal decoder of transformers with random weights and biases that are not zero."""
    transformers = pytest.importorskip("transformers")
    size = {"vocab_size": 19, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    grouped = {**size, "intermediate_size": 40, "num_key_value_heads": 2}
    settings = {
        "Llama": grouped,
        "Mistral": grouped,
        "Qwen2": grouped,
        "Qwen3": {**grouped, "head_dim": 8},
        "OPT": {**size, "ffn_dim": 40, "word_embed_proj_dim": 24},
        "GPT2": {"vocab_size": 19, "n_embd": 24, "n_layer": 2, "n_head": 4, "tie_word_embeddings": True},
        "GPTNeoX": {**size, "hidden_size": 64, "intermediate_size": 40},
    }[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(attn_implementation="eager", **settings)
    network = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


FAMILIES = ["Llama", "Mistral", "Qwen2", "Qwen3", "OPT", "GPT2", "GPTNeoX"]


def matrix(network: nn.Module, part: Part) -> tuple[Tensor, Tensor | float]:
    """Weight (out, in) and bias of a part."""
    module = network.get_submodule(part.module)
    weight = getattr(module, part.weight)
    weight = weight.T if part.transposed else weight
    bias = getattr(module, part.bias) if part.bias else None
    if part.rows:
        chosen = torch.cat([torch.arange(*span) for span in part.rows])
        weight, bias = weight[chosen], None if bias is None else bias[chosen]
    return weight, 0.0 if bias is None else bias


def mapped(network: nn.Module, part: Part, x: Tensor) -> Tensor:
    weight, bias = matrix(network, part)
    return x @ weight.T + bias


def rotated(x: Tensor, dims: int, positions: Tensor) -> Tensor:
    """Rotary embedding of (…, T, head_dim), the first `dims` of it, pairs (i, i + dims/2), base 10,000."""
    angles = positions[:, None] / 10_000 ** (torch.arange(dims // 2) / (dims // 2))
    a, b, rest = x[..., : dims // 2], x[..., dims // 2 : dims], x[..., dims:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin(), rest], -1)


def attended(network: nn.Module, part: Attention, x: Tensor) -> Tensor:
    """What the attention must answer for its input (B, T, width), from its parts alone."""

    def heads(each: Part, count: int) -> Tensor:
        return mapped(network, each, x).unflatten(-1, (count, part.head_dim)).transpose(1, 2)

    query, key = heads(part.query, part.heads), heads(part.key, part.key_value_heads)
    value = heads(part.value, part.key_value_heads)
    if part.normed:
        own = network.get_submodule(part.module)
        query, key = own.q_norm(query), own.k_norm(key)
    if part.rotary:
        positions = torch.arange(x.shape[1]).float()
        query, key = rotated(query, part.rotary, positions), rotated(key, part.rotary, positions)
    repeat = part.heads // part.key_value_heads
    key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    scores = query @ key.transpose(-1, -2) / part.head_dim**0.5
    if part.causal:
        scores = scores.masked_fill(torch.ones(x.shape[1], x.shape[1]).triu(1).bool(), float("-inf"))
    return mapped(network, part.output, (scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


def seen(network: nn.Module, names: list[str], inputs: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """First input and first output of modules during one forward pass."""
    found = {}

    def note(name: str):
        def hook(module, args, kwargs, output):
            first = args[0] if args else kwargs["hidden_states"] if "hidden_states" in kwargs else kwargs["query"]
            found[name] = (first, output[0] if isinstance(output, tuple) else output)

        return hook

    handles = [network.get_submodule(n).register_forward_hook(note(n), with_kwargs=True) for n in names]
    with torch.no_grad():
        network(inputs)
    for handle in handles:
        handle.remove()
    return found


def check_attention(network: nn.Module, anatomy: Anatomy, inputs: Tensor) -> None:
    parts = [block.attention for block in anatomy.blocks]
    assert all(parts)
    for part, (x, y) in zip(parts, seen(network, [p.module for p in parts], inputs).values(), strict=True):
        torch.testing.assert_close(attended(network, part, x), y, rtol=1e-4, atol=1e-5)


def check_mlp(network: nn.Module, anatomy: Anatomy, act, inputs: Tensor) -> None:
    for block in anatomy.blocks:
        mlp = block.mlp
        calls = seen(network, [mlp.up.module, mlp.down.module], inputs)
        x, y = calls[mlp.up.module][0], calls[mlp.down.module][1]
        hidden = mapped(network, mlp.up, x)
        hidden = act(hidden) if mlp.gate is None else act(mapped(network, mlp.gate, x)) * hidden
        assert hidden.shape[-1] == mlp.width
        torch.testing.assert_close(mapped(network, mlp.down, hidden), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_of_a_decoder_compute_what_it_computes(family: str):
    network = decoder(family)
    anatomy = recognised(network)
    assert len(anatomy.blocks) == 2
    check_attention(network, anatomy, TOKENS)
    act = {"OPT": functional.relu, "GPTNeoX": functional.gelu}.get(family, functional.silu)
    if family == "GPT2":
        act = lambda x: functional.gelu(x, approximate="tanh")  # noqa: E731
    check_mlp(network, anatomy, act, TOKENS)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_is_found_by_its_role(family: str):
    network = decoder(family)
    anatomy = recognised(network)
    assert network.get_submodule(anatomy.head) is network.get_output_embeddings()
    assert anatomy.tied == (network.get_output_embeddings().weight is network.get_input_embeddings().weight)
    assert {anatomy.head, *anatomy.embeddings} == anatomy.protected
    assert isinstance(network.get_submodule(anatomy.embeddings[0]), nn.Embedding)
    assert anatomy.final_norm and not anatomy.final_norm.startswith(anatomy.blocks[-1].name)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_adds_exactly_its_writers(family: str):
    network = decoder(family)
    for block in recognised(network).blocks:
        calls = seen(network, [block.name, *block.writers], TOKENS)
        x, y = calls.pop(block.name)
        added = sum(out.reshape(x.shape) for _, out in calls.values())  # OPT flattens the tokens of a batch
        torch.testing.assert_close(x + added, y)


def vit(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "timm":
        made = pytest.importorskip("timm.models.vision_transformer").VisionTransformer
        network = made(32, 8, num_classes=5, embed_dim=24, depth=2, num_heads=3, init_values=0.5)
        for block in network.blocks:
            block.attn.fused_attn = False
        return network.eval()
    if kind == "torchvision":
        made = pytest.importorskip("torchvision.models.vision_transformer").VisionTransformer
        return made(32, 8, 2, 3, 24, 48, num_classes=5).eval()
    layer = nn.TransformerEncoderLayer(24, 3, 48, batch_first=True, norm_first=True, dropout=0.0)
    return nn.Sequential(
        nn.Flatten(2), nn.Linear(1024, 24), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    )


@pytest.mark.parametrize("kind", ["timm", "torchvision", "torch"])
def test_parts_of_a_vision_transformer_compute_it(kind: str):
    network = vit(kind).eval().train(kind == "torch")  # in training torch's own layer calls its parts, not a kernel
    anatomy = recognised(network)
    images = torch.randn(2, 3, 32, 32)
    check_attention(network, anatomy, images)
    check_mlp(network, anatomy, functional.relu if kind == "torch" else functional.gelu, images)
    for block in anatomy.blocks:
        calls = seen(network, [block.name, *block.writers], images)
        x, y = calls.pop(block.name)
        added = sum(out.reshape(x.shape) for _, out in calls.values())  # OPT flattens the tokens of a batch
        torch.testing.assert_close(x + added, y)


def test_heads_of_vision_transformers_are_found():
    assert recognised(vit("timm")).head == "head"
    assert recognised(vit("torchvision")).head == "heads.head"


def test_a_network_without_known_blocks_has_no_anatomy():
    assert recognised(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))) is None


class Doubling(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def changed(change) -> Anatomy:
    network = decoder("Llama")
    change(network.model.layers[0].mlp)
    return recognised(network)


@pytest.mark.parametrize(
    "change",
    [
        lambda mlp: setattr(mlp, "up_proj", Doubling(24, 40)),
        lambda mlp: parametrizations.weight_norm(mlp.up_proj),
        lambda mlp: mlp.down_proj.register_forward_hook(lambda *_: None),
    ],
    ids=["own forward", "computed weight", "hook"],
)
def test_a_layer_that_is_not_plain_leaves_no_part(change):
    anatomy = changed(change)
    assert anatomy.blocks[0].mlp is None and anatomy.blocks[0].attention is not None
    assert anatomy.blocks[1].mlp is not None


def test_an_anatomy_is_plain_data_and_on_the_face():
    anatomy = recognised(decoder("Llama"))
    assert copy.deepcopy(anatomy) == anatomy and hash(anatomy) == hash(copy.deepcopy(anatomy))
    assert {"Anatomy", "Attention", "Block", "Mlp", "Part"} <= set(prunebench.__all__)
