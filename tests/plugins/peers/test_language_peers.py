"""Peers that round or thin out a language model, counted without them."""

from __future__ import annotations

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from prunebench import NotApplicable
from prunebench.measure.storage import stored_byte_count
from prunebench.trial.workbench import layer_shapes
from prunebench_models.language import TinyGpt
from prunebench_peers.llmcompressor import LlmcompressorAwq, LlmcompressorGptq, LlmcompressorSparseGpt
from prunebench_peers.torchao import TorchaoInt4
from torch import Tensor, nn

pytestmark = pytest.mark.filterwarnings("ignore")  # of what the libraries import
DECODER = TinyGpt(depth=1, width=32, mlp=48, heads=2, key_value_heads=2)
LAYERS = 7  # q, k, v, o, gate, up, down


def need(library: str, extra: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed: pip install 'prunebench[{extra}]'")


@pytest.fixture(scope="module")
def dense() -> nn.Module:
    torch.manual_seed(0)
    return DECODER.build(64).eval()


def task(network: nn.Module) -> SimpleNamespace:
    """What a peer reads of a task; `left` is why layers were left alone."""
    tokens = torch.randint(64, (12, 32), generator=torch.Generator().manual_seed(1))
    left: dict[str, str] = {}
    return SimpleNamespace(
        calibration=tokens, batch_size=5, shapes=layer_shapes(network, tokens[:1]), anatomy=DECODER.anatomy(network),
        layer=lambda name, left_alone: left.update({name: left_alone}), note=lambda text: None, left=left,
    )  # fmt: skip


def linears(network: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in network.named_modules() if hasattr(module, "in_features")}


def moved(network: nn.Module, dense: nn.Module, tokens: Tensor) -> float:
    with torch.inference_mode():
        return float((network(tokens) - dense(tokens)).norm() / dense(tokens).norm())


def nearest(weight: Tensor, bits: int) -> Tensor:
    """The weight rounded row by row to the nearest of 2**bits levels from its least to its largest entry."""
    low, high = weight.amin(1, keepdim=True).clamp_max(0), weight.amax(1, keepdim=True).clamp_min(0)
    scale = (high - low) / (2**bits - 1)
    zero = (-low / scale).round()
    return ((weight / scale + zero).round().clamp(0, 2**bits - 1) - zero) * scale


@pytest.mark.parametrize("made", [LlmcompressorGptq(bits=3), LlmcompressorGptq(group=16, symmetric=True),
                                  LlmcompressorAwq(group=16)], ids=str)  # fmt: skip
def test_weights_that_llmcompressor_rounds_have_so_many_levels(made, dense):
    need("llmcompressor", "peers-llm")
    given = task(dense)
    network = made.prune(copy.deepcopy(dense), given)
    rounded = {name: one for name, one in linears(network).items() if name != "lm_head"}
    assert len(rounded) == LAYERS and "shared" in given.left["lm_head"]
    for layer in rounded.values():
        weight = layer.weight.detach()
        groups = weight.unflatten(1, (-1, made.group or weight.shape[1]))
        zeros = torch.zeros_like(layer.scales) if layer.zeros is None else layer.zeros.float()
        codes = groups / layer.scales[:, :, None] + zeros[:, :, None]
        torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0)
        assert codes.max() - codes.min() < 2**made.bits
        assert max(len(row.unique()) for row in groups.flatten(0, 1)) <= 2**made.bits
    codes_saved = sum(one.weight.numel() * 4 - one.weight.numel() * made.bits // 8 for one in rounded.values())
    zeros_saved = 0 if made.symmetric else sum(
        one.zeros.numel() - -(-one.zeros.numel() * made.bits // 8) for one in rounded.values()
    )  # fmt: skip
    assert made.storage(network) == {"packed": stored_byte_count(network) - codes_saved - zeros_saved}
    assert 0 < moved(network, dense, given.calibration) < 0.5
    assert not any(module._forward_hooks or "quantization_scheme" in vars(module) for module in network.modules())


def test_llmcompressors_gptq_loses_less_of_an_output_than_rounding(dense):
    need("llmcompressor", "peers-llm")
    given = task(dense)
    network = LlmcompressorGptq(bits=3).prune(copy.deepcopy(dense), given)
    name, seen = "model.layers.0.mlp.down_proj", []
    layer = dense.get_submodule(name)
    with torch.inference_mode():
        hook = layer.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].flatten(0, 1)))
        dense(given.calibration)
        hook.remove()
        inputs, weight = seen[0], layer.weight
        loss = [
            float((inputs @ (weight - other).T).square().sum())
            for other in (network.get_submodule(name).weight, nearest(weight, 3))
        ]
    assert 0 < loss[0] < loss[1]


@pytest.mark.parametrize("pattern", ["layer", "2:4"])
def test_sparsegpt_of_llmcompressor_leaves_so_many_zeros(pattern, dense):
    need("llmcompressor", "peers-llm")
    given = task(dense)
    network = LlmcompressorSparseGpt(pattern=pattern).prune(copy.deepcopy(dense), given)
    for name, layer in linears(network).items():
        zeros, count = int((layer.weight == 0).sum()), layer.weight.numel()
        assert zeros == (0 if name == "lm_head" else count // 2 + (pattern == "layer"))  # one more in each block
        if pattern == "2:4" and zeros:
            assert bool(((layer.weight.unflatten(1, (-1, 4)) == 0).sum(2) == 2).all())
    assert moved(network, dense, given.calibration) > 0


@pytest.mark.parametrize("group", [0, 16])
def test_torchaos_weights_of_four_bits_are_kept_as_codes(group, dense):
    need("torchao", "peers")
    given = task(dense)
    method = TorchaoInt4(group=group)
    network = method.prune(copy.deepcopy(dense), given)
    codes = {name: b for name, b in network.named_buffers() if name.endswith("qdata")}
    assert len(codes) == LAYERS
    for name, held in codes.items():
        weight = dense.get_submodule(name.removesuffix(".qdata")).weight.detach()
        assert held.dtype == torch.int8 and held.shape == weight.shape and held.min() >= -8 and held.max() <= 7
        groups = weight.unflatten(1, (-1, group or weight.shape[1]))
        scale = groups.abs().amax(2, keepdim=True) / 7.5
        assert float((held.unflatten(1, (-1, groups.shape[2])) - groups / scale).abs().max()) <= 1
    saved = sum(one.numel() - one.numel() // 2 for one in codes.values())
    saved += sum(one.numel() for name, one in network.named_buffers() if name.endswith("zero_point"))
    assert method.storage(network) == {"packed": stored_byte_count(network) - saved}
    assert 0 < moved(network, dense, given.calibration) < 0.5


def test_what_llmcompressor_cannot_take_is_declined_with_the_reason(dense):
    need("llmcompressor", "peers-llm")
    given = task(dense)
    with pytest.raises(NotApplicable, match=r"32 inputs are no multiple of the group's 7"):
        LlmcompressorGptq(group=7).prune(copy.deepcopy(dense), given)
    given.anatomy = None
    with pytest.raises(NotApplicable, match="blocks, norms and MLP are known"):
        LlmcompressorAwq().prune(copy.deepcopy(dense), given)


@pytest.mark.parametrize("cls", [LlmcompressorGptq, LlmcompressorAwq, LlmcompressorSparseGpt])
def test_without_llmcompressor_the_cell_says_what_to_install(cls, dense, monkeypatch):
    known = [name for name in sys.modules if name.partition(".")[0] in ("llmcompressor", "compressed_tensors")]
    for name in ("llmcompressor", "compressed_tensors", *known):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "prunebench_peers.llmcompressor_calls", raising=False)
    with pytest.raises(
        NotApplicable, match=r"llmcompressor cannot be imported .*pip install 'prunebench\[peers-llm\]'"
    ):
        cls().prune(copy.deepcopy(dense), task(dense))


def test_a_pattern_of_groups_says_the_share_itself():
    with pytest.raises(ValueError, match=r"must be 0\.5"):
        LlmcompressorSparseGpt(sparsity=0.3, pattern="2:4").check()
