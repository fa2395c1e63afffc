"""One more token behind a cache: what is timed, what it keeps, and when there is no such row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from prunebench import NotApplicable
from prunebench.measure.latency.decoding import LOOSE, cached, decode_latency, is_text
from prunebench.records import LatencyProtocol, Protocol
from prunebench_models.language import CausalLm, TinyGpt
from torch import nn

PROTOCOL = LatencyProtocol(batch=(2,), groups=2, max_seconds=0.05, decode=15)
MODEL = TinyGpt(depth=2, width=16, heads=4, key_value_heads=2, mlp=24, window=16)


def tokens(count: int = 3, length: int = 16, high: int = 256) -> torch.Tensor:
    return torch.randint(high, (count, length), generator=torch.Generator().manual_seed(0))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MODEL.build(256).eval()


def timed(dense: nn.Module, pruned: nn.Module, decoding=MODEL.decoding, protocol: LatencyProtocol = PROTOCOL):
    return decode_latency(dense, pruned, tokens(), decoding, protocol, torch.device("cpu"), 0)


def test_a_row_of_decoding_says_what_either_network_keeps():
    dense, pruned = network(), network()
    del pruned.model.layers[1]
    (row,) = timed(dense, pruned)
    assert (row.mode, row.batch, row.token_count, row.context) == ("decode", 2, 1, 15)
    # keys and values, blocks, key-value heads, head dimensions, tokens, float32, batch
    assert row.dense_cache_bytes == 2 * 2 * 2 * 4 * 15 * 4 * 2
    assert row.cache_bytes == row.dense_cache_bytes / 2
    assert row.throughput == pytest.approx(2 * 1000 / row.latency_ms)


def test_each_network_is_called_behind_its_own_cache():
    first, second = network(0), network(1)
    text = tokens()
    one, other = cached(first, text, MODEL.decoding, 1e-5), cached(second, text, MODEL.decoding, 1e-5)
    assert not torch.equal(one[1][0][0], other[1][0][0])
    with pytest.raises(NotApplicable, match="other outputs than on the whole text"):
        cached(first, text, lambda own, read: MODEL.decoding(second, read), LOOSE)


def spoilt(args: tuple) -> None:
    if len(args) > 1:
        args[1][0][0].zero_()


def test_a_call_that_changes_its_cache_is_not_timed():
    def spoiling(own: nn.Module, read: torch.Tensor):
        last, past = MODEL.decoding(own, read)
        own.register_forward_pre_hook(lambda module, args: spoilt(args))
        return last, past

    with pytest.raises(NotApplicable, match="changes the cache"):
        cached(network(), tokens(), spoiling, 1e6)


def test_windows_that_are_too_short_leave_no_row():
    with pytest.raises(NotApplicable, match="decode = 16 needs windows of 17 tokens"):
        timed(network(), network(), protocol=replace(PROTOCOL, decode=16))


def test_a_model_without_a_cache_leaves_no_row():
    with pytest.raises(NotApplicable, match="has no cache"):
        timed(network(), network(), decoding=lambda own, read: None)


def test_only_windows_of_tokens_are_text():
    assert is_text(tokens()) and not is_text(torch.zeros(3, 16)) and not is_text((tokens(),))


def test_a_grid_that_asks_for_no_decoding_keeps_its_ids():
    plain = Protocol(latency=LatencyProtocol(batch=(1,)))
    assert "decode" not in plain.text
    asked = Protocol(latency=LatencyProtocol(batch=(1,), decode=15))
    assert '"decode":15' in asked.text and asked.id != plain.id


def config(kind: str):
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 19, "hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 2}
    return {
        "llama": lambda: transformers.LlamaConfig(intermediate_size=40, num_key_value_heads=2, **small),
        "opt": lambda: transformers.OPTConfig(ffn_dim=40, word_embed_proj_dim=24, max_position_embeddings=32, **small),
        "gpt2": lambda: transformers.GPT2Config(vocab_size=19, n_embd=24, n_head=4, n_layer=2, n_positions=32),
        "gpt_neox": lambda: transformers.GPTNeoXConfig(intermediate_size=40, **small),
    }[kind]()


@pytest.mark.parametrize("kind", ["llama", "opt", "gpt2", "gpt_neox"])
def test_decoders_of_transformers_answer_alike_behind_their_cache(kind: str):
    transformers = pytest.importorskip("transformers")
    from prunebench_models.hub import Logits

    torch.manual_seed(0)
    own = Logits(transformers.AutoModelForCausalLM.from_config(config(kind)).eval())
    text = tokens(high=19)
    last, past = cached(own, text, CausalLm(folder="x").decoding, 1e-5)
    assert last.shape == (3, 1) and len(past) == 2 and past[0][0].shape[2] == 15


def test_an_attention_that_a_method_replaced_is_not_timed():
    pruned = network()
    pruned.model.layers[1].self_attn = nn.Identity()
    with pytest.raises(NotApplicable, match="blocks were replaced"):
        cached(pruned, tokens(), MODEL.decoding, LOOSE)
