"""Text as windows of tokens: the protocol that papers mean, and the ways in which it goes wrong unseen."""

from __future__ import annotations

import gzip
import io
import json
import math
from pathlib import Path
from urllib.error import URLError

import polars
import pytest
import torch
from prunebench import DataError, Splits
from prunebench.measure.scores import evaluate
from prunebench_datasets import windows
from prunebench_datasets.corpora import pieces, read_text, shared_out
from prunebench_datasets.texts import C4, Ptb, Text, WikiText2
from prunebench_objectives.language_modelling import LanguageModelling
from torch import nn

WORDS = "the quick brown fox jumps over the lazy dog and then ürgs — again\n"


def text_file(folder: Path, lines: int = 3000, name: str = "a.txt") -> Path:
    file = folder / name
    file.write_text("".join(f"{place} {WORDS}" for place in range(lines)), encoding="utf-8")
    return file


class Letters:
    """A tokenizer of characters whose first token is its own, 0, and which knows 100 more."""

    name, sha256, size, begins = "letters", "00", 101, True

    def encode(self, text: str):
        ids = torch.tensor([0, *(1 + ord(c) % 100 for c in text)])
        return ids, torch.tensor([0, *(len(c.encode()) for c in text)])


class Reader:
    """Stands for a model with that tokenizer and a window."""

    input_shape = (16,)

    def tokenizer(self):
        return Letters()


def loaded(folder: Path, **settings) -> Splits:
    text_file(folder)
    return Text(path="a.txt", **settings).load((32,), folder)


def test_each_window_predicts_its_tokens_from_those_before(tmp_path: Path):
    test = loaded(tmp_path).test
    assert test.inputs.shape[1] == 32
    assert torch.equal(test.targets["tokens"][:, :-1], test.inputs[:, 1:])
    assert (test.targets["tokens"][:, -1] == windows.IGNORED).all()
    assert (test.targets["bytes"] == 31).all()  # of bytes as tokens


def test_windows_follow_one_another_and_the_tail_is_dropped(tmp_path: Path):
    text = text_file(tmp_path).read_text()
    test = shared_out(text)[2].encode()
    found = loaded(tmp_path).test.inputs
    assert len(found) == len(test) // 32
    assert bytes(found.flatten().tolist()) == test[: len(found) * 32]


@pytest.mark.parametrize("stride", [1, 5, 31])
def test_a_short_stride_scores_no_token_twice(tmp_path: Path, stride: int):
    tokens = windows.Tokens(torch.arange(100), torch.ones(100, dtype=torch.long))
    split = windows.as_split(windows.in_windows(tokens, 32, stride), 32, stride)
    scored = split.targets["tokens"][split.targets["tokens"] != windows.IGNORED]
    assert torch.equal(scored, torch.arange(1, 1 + len(scored)))  # each once, all but the first
    assert int(split.targets["bytes"].sum()) == len(scored)


def test_pieces_put_together_are_the_text(tmp_path: Path):
    text = text_file(tmp_path).read_text()
    assert "".join(pieces(text)) == text
    assert sum(map(len, shared_out(text))) == len(text)


def test_no_window_is_in_training_and_test(tmp_path: Path):
    (tmp_path / "same.txt").write_text(("a" * 31 + "\n") * 5_000)
    with pytest.raises(DataError, match="training text is shorter"):
        Text(path="same.txt").load((32,), tmp_path)  # every window is the test's
    one, other = torch.arange(8), torch.arange(8) + 1
    kept, removed = windows.without([(one, one), (other, other)], [(one.clone(), one)])
    assert removed == 1 and len(kept) == 1 and torch.equal(kept[0][0], other)


def test_another_text_can_be_the_test(tmp_path: Path):
    text_file(tmp_path)
    (tmp_path / "b.txt").write_text("something else entirely. " * 100)
    splits = Text(path="a.txt", test_path="b.txt").load((32,), tmp_path)
    assert splits.facts["calibration"] == "another text than the test"
    assert bytes(splits.test.inputs[0].tolist()).decode().startswith("something else")
    assert splits.fingerprint != loaded(tmp_path).fingerprint


def test_the_models_tokenizer_reads_the_text_once(tmp_path: Path):
    text_file(tmp_path)
    splits = Text(path="a.txt").load_for(Reader(), tmp_path)
    assert splits.outputs == 101 and splits.facts["tokenizer"] == "letters"
    assert int((splits.test.inputs == 0).sum()) == 1 and splits.test.inputs[0, 0] == 0  # once, at the very start
    assert splits.facts["first_token"] is True


def test_text_of_a_module_is_read_and_not_run(tmp_path: Path, monkeypatch):
    prose = "A long string of text, " * 20
    (tmp_path / "prosaic.py").write_text(f"raise SystemExit('run')\ntopics = {{'a': {prose!r}, 'b': 'short'}}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read_text("", "prosaic", tmp_path) == prose


def test_python_itself_carries_enough_prose_for_a_small_model():
    splits = Text().load((128,), Path("/nowhere"))
    assert len(splits.train) > 2000 and len(splits.validation) > 200 and len(splits.test) > 200


WIKI_ROWS = ["", " = Title = \n", "", " Some words here , and more of them . \n", " And a second line . \n", ""] * 30


def wiki(folder: Path) -> list[str]:
    rows = WIKI_ROWS
    raw = folder / "wikitext-2-raw"
    raw.mkdir()
    for name in ("train", "valid", "test"):
        lines = [row.replace("words", f"words of {name}") or " \n" for row in rows]
        (raw / f"wiki.{name}.raw").write_text("".join(lines), encoding="utf-8")
    return [row.replace("words", "words of test") for row in rows]


def test_wikitext_is_joined_as_published(tmp_path: Path):
    rows = wiki(tmp_path)
    found = WikiText2().load((64,), tmp_path).test.inputs
    wanted = "\n\n".join(rows).encode()
    assert bytes(found.flatten().tolist()) == wanted[: len(wanted) // 64 * 64]


def wiki_parquet(folder: Path) -> None:
    place = folder / "wikitext" / "wikitext-2-raw-v1"
    place.mkdir(parents=True)
    for name, kind in (("train", "train"), ("validation", "valid"), ("test", "test")):
        frame = polars.DataFrame({"text": [row.replace("words", f"words of {kind}") for row in WIKI_ROWS]})
        frame.write_parquet(place / f"{name}-00000-of-00001.parquet")


def test_wikitext_from_parquet_equals_that_from_raw_files(tmp_path: Path):
    wiki(tmp_path)
    wiki_parquet(tmp_path / "other")
    raw = WikiText2().load((64,), tmp_path)
    assert WikiText2().load((64,), tmp_path / "other").fingerprint == raw.fingerprint


def ptb_files(folder: Path) -> None:
    (folder / "ptb").mkdir(parents=True)
    for name in ("train", "valid", "test"):
        (folder / "ptb" / f"ptb.{name}.txt").write_text(f" of {name} no <unk> it was n't black monday \n" * 50)


def test_ptb_sentences_are_joined_by_a_space(tmp_path: Path):
    ptb_files(tmp_path)
    found = Ptb().load((32,), tmp_path).test.inputs
    assert bytes(found.flatten().tolist()).decode().startswith("of test no <unk> it was n't black monday of test no")


def c4_files(folder: Path) -> None:
    place = folder / "c4" / "en"
    place.mkdir(parents=True)
    for shard in ("c4-train.00000-of-01024.json.gz", "c4-validation.00000-of-00008.json.gz"):
        with gzip.open(place / shard, "wt", encoding="utf-8") as file:
            for row in range(1300):
                more = f"{shard[3]}{row} more of its text " * 6 if row % 2 else ""
                text = f"{shard[:8]} document {row} {more}"
                file.write(json.dumps({"text": text, "timestamp": "2019", "url": "x"}) + "\n")


def test_c4_draws_windows_from_long_documents(tmp_path: Path):
    c4_files(tmp_path)
    splits = C4(train_windows=20).load((64,), tmp_path)
    texts = [bytes(row.tolist()).decode() for row in splits.train.inputs]
    assert len(texts) == 20 and all("more of its text" in text for text in texts)
    assert bytes(splits.test.inputs[0].tolist()).decode().startswith("c4-valid document 0  c4-valid document 1 v1 more")
    assert splits.facts["test_windows"] == 256
    assert C4(train_windows=20, drawing=1).load((64,), tmp_path).fingerprint != splits.fingerprint
    assert C4(train_windows=20).load((64,), tmp_path).fingerprint == splits.fingerprint


@pytest.mark.parametrize(
    ("settings", "shape", "said"),
    [
        ({"path": "none.txt"}, (32,), "no such text"),
        ({"path": "empty"}, (32,), "no .txt file"),
        ({"path": "short.txt"}, (32,), "shorter than a window of 32"),
        ({"path": "latin.txt"}, (32,), "no UTF-8 text: byte 3"),
        ({"path": "a.txt", "window": 64}, (32,), "longer than the model's, 32"),
        ({"path": "a.txt"}, (3, 16, 16), "use a language model"),
        ({"package": "no_such_package_here"}, (32,), "not installed"),
        ({"package": "math"}, (32,), "neither .txt files nor"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, settings: dict, shape: tuple, said: str):
    text_file(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "latin.txt").write_bytes(b"abc\xff" * 1000)
    with pytest.raises(DataError, match=said) as error:
        Text(**settings).load(shape, tmp_path)
    assert "\n" not in str(error.value)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What is published, by the last part of its address; all else cannot be reached."""
    published: dict[str, bytes] = {}

    def urlopen(url: str, timeout: float):
        name = url.rpartition("/")[2]
        if name not in published:
            raise URLError("no network")
        answer = io.BytesIO(published[name])
        lost = 7 if name == published.get("short", b"").decode() else 0
        answer.headers = {"Content-Length": str(len(published[name]) + lost)}
        return answer

    monkeypatch.setattr("prunebench_datasets.fetching.urlopen", urlopen)
    return published


@pytest.mark.parametrize("cls", [WikiText2, C4, Ptb])
def test_a_corpus_that_is_not_here_says_where_to_put_it(tmp_path: Path, server, cls):
    assert not cls().available(tmp_path)
    with pytest.raises(DataError, match=r"is not in .*could not be fetched \(no network\): put") as error:
        cls().load((32,), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("cls", "make"), [(WikiText2, wiki_parquet), (C4, c4_files), (Ptb, ptb_files)])
def test_a_corpus_is_fetched_from_where_it_is_published(tmp_path: Path, server, cls, make):
    make(tmp_path / "published")
    files = [file for file in (tmp_path / "published").rglob("*") if file.is_file()]
    server |= {file.name: file.read_bytes() for file in files}
    data = cls(train_windows=20) if cls is C4 else cls()
    found = data.load((32,), tmp_path / "here")
    assert found.fingerprint == data.load((32,), tmp_path / "published").fingerprint
    assert data.available(tmp_path / "here")
    server.clear()
    assert data.load((32,), tmp_path / "here").fingerprint == found.fingerprint


def test_half_a_file_is_not_kept(tmp_path: Path, server):
    ptb_files(tmp_path / "published")
    server |= {file.name: file.read_bytes() for file in (tmp_path / "published" / "ptb").iterdir()}
    server["short"] = b"ptb.valid.txt"
    with pytest.raises(DataError, match=r"ptb.valid.txt ended after [\d,]+ of [\d,]+ bytes"):
        Ptb().load((32,), tmp_path)
    assert sorted(file.name for file in (tmp_path / "ptb").iterdir()) == [".fetching", "ptb.train.txt"]


def test_a_stride_longer_than_the_window_is_refused():
    with pytest.raises(ValueError, match="left out"):
        Text(window=8, stride=9).check()


def llama() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=256, **size)).eval()


class Only(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens):
        return self.network(tokens).logits


def test_perplexity_equals_a_plain_loop_over_transformers(tmp_path: Path):
    network = llama()
    found = evaluate(Only(network), loaded(tmp_path).test, LanguageModelling(), "cpu").numbers
    ids = torch.tensor(list(shared_out((tmp_path / "a.txt").read_text())[2].encode()))
    losses = []
    for window in range(len(ids) // 32):
        batch = ids[None, window * 32 : (window + 1) * 32]
        with torch.no_grad():
            losses.append(network(batch, labels=batch).loss.double() * 32)
    mean = float(sum(losses)) / (len(losses) * 32)
    assert found["perplexity"] == pytest.approx(math.exp(mean), rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(mean / math.log(2), rel=1e-6)
