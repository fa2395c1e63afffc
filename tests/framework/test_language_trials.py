"""Trials of language models, from text to a row."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from prunebench import Dataset, Method, Model, Splits, TensorSplit, open_results
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.parameters import complete as filled
from prunebench.records import Choice, LatencyProtocol, Protocol, Recipe, Run, Trial
from prunebench.store import Store
from prunebench.trial.runner import run_trial
from prunebench.trial.workbench import Workbench
from torch import nn

PROTOCOL = Protocol(
    train=Recipe(epochs=1, batch_size=16, lr=3e-3, optimizer="adamw"),
    finetune=Recipe(),
    latency=LatencyProtocol(batch=()),
    calibration=16,
    metrics=("token_divergence",),
)
MODEL = Choice("tiny_gpt", {"depth": 2, "width": 16, "heads": 2, "key_value_heads": 1, "mlp": 24, "window": 32})


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    (tmp_path / "a.txt").write_text("".join(f"line {place} of a short text, to be read\n" for place in range(3000)))
    return Workbench(data_dir=tmp_path, checkpoints=tmp_path / "checkpoints")


def complete(kind: str, choice: Choice) -> Choice:
    return Choice(choice.use, filled(find_installed().find(kind, choice.use).cls, choice.params))


def trial(method: Choice, **data) -> Trial:
    dataset = complete("dataset", Choice("text", {"path": "a.txt", "test_windows": 20, **data}))
    return Trial(dataset, complete("model", MODEL), complete("method", method), 0, PROTOCOL)


def test_a_row_says_how_its_perplexity_came_about(bench: Workbench):
    result = run_trial(trial(Choice("mlp_width", {"keep": 0.5})), bench)
    assert result.status == "ok", result.reason
    m = result.measurement
    assert m.objective.name == "language_modelling" and m.test_count == 20 and m.values
    assert m.score == pytest.approx(2.718281828 ** m.scores["loss"], rel=1e-6)
    assert m.scores["token_count"] == 20 * 31
    (note,) = [note for note in m.notes if note.startswith("data: ")]
    for part in ("window 32", "stride 32", "tail dropped", "tokenizer bytes", "other windows of the test's corpus"):
        assert part in note
    found = {metric.name: metric.value for metric in m.metrics}
    assert found["token_divergence.kl"] > 0 and 0 <= found["token_divergence.same_first"] <= 1


def test_the_protocol_of_a_perplexity_is_kept_by_name(bench: Workbench, tmp_path: Path):
    result = run_trial(trial(Choice("dense")), bench)
    store = Store(tmp_path / "results.duckdb")
    journal = store.open_run(Run("r", "r", "2026-01-01", "", "", 1, (result.trial.id,)))
    journal.append(result)
    journal.close()
    store.merge()
    found = json.loads(open_results(tmp_path / "results.duckdb").query("select data from provenances").item())
    assert found["window"] == 32 and found["tokenizer"] == "bytes" and found["test_tokens"] == 20 * 31
    assert found["overlap_removed"] > 0 and found["partial"] is True  # stretches between two numbers repeat


METHODS = [
    Choice("low_rank", {"rank_ratio": 0.5}),
    Choice("data_aware_low_rank", {"rank_ratio": 0.25, "round_to": 1, "importance": "alike"}),
    Choice("magnitude", {"keep": 0.5}),
    Choice("int8"),
    Choice("kmeans", {"clusters": 16}),
    Choice("wanda", {"keep": 0.5}),
    Choice("rtn", {"bits": 8}),
    Choice("heads", {"keep": 0.5}),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda choice: choice.use)
def test_methods_keep_their_promises_on_a_language_model(bench: Workbench, method: Choice):
    result = run_trial(trial(method), bench)
    assert result.status == ("skipped" if method.use == "heads" else "ok"), result.reason
    if method.use == "heads":  # there is one key-value head
        assert result.reason == "keep 0.5 of 1 key-value heads, rounded up, is all of them"


@dataclass(frozen=True)
class Spoils(Method):
    """Makes one token's embedding infinite."""

    name = "spoils"

    def prune(self, network: nn.Module, task) -> nn.Module:
        with torch.no_grad():
            network.model.embed_tokens.weight[ord("9")] = torch.inf
        return network


def test_windows_that_are_not_finite_leave_no_perplexity(bench: Workbench):
    bench.installed = find_installed().named("method", "spoils", Spoils)
    whole = trial(Choice("dense"))
    result = run_trial(Trial(whole.dataset, whole.model, Choice("spoils"), 0, PROTOCOL), bench)
    assert result.status == "failed" and result.measurement is None
    assert re.search(r"\d+ of 20 ", result.reason), result.reason


def test_dropping_a_block_is_counted(bench: Workbench):
    dense = run_trial(trial(Choice("dense")), bench).measurement
    fewer = run_trial(trial(Choice("drop_blocks", {"drop": 1})), bench).measurement
    block = 2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 24 + 2 * 16
    assert dense.parameter_count - fewer.parameter_count == block
    assert {metric.name: metric.value for metric in dense.metrics}["token_divergence.kl"] == pytest.approx(0, abs=1e-6)


def test_a_short_window_is_read_by_a_longer_model(bench: Workbench):
    result = run_trial(trial(Choice("dense"), window=16), bench)
    assert result.status == "ok" and "window 16" in " ".join(result.measurement.notes)


@dataclass(frozen=True)
class Same(Dataset):
    """Seven tokens in turn."""

    name = "same"
    objective = "language_modelling"

    def load(self, input_shape, folder) -> Splits:
        tokens = torch.arange(40 * 32).reshape(40, 32) % 7
        return Splits(*[TensorSplit(tokens, tokens)] * 3, fingerprint="x", outputs=7)


@dataclass(frozen=True)
class Reading(Model):
    """Reads its weights every time."""

    name = "reading"
    objectives = ("language_modelling",)
    input_shape = (32,)
    pretrained = True
    reloads = True

    def build(self, outputs: int) -> nn.Module:
        torch.manual_seed(0)
        return nn.Embedding(outputs, outputs)


def test_weights_that_are_read_every_time_are_not_copied(bench: Workbench, tmp_path: Path):
    objective = find_installed().find("objective", "language_modelling").cls
    named = Installed().named("dataset", "same", Same).named("model", "reading", Reading)
    bench.installed = named.named("objective", "language_modelling", objective)
    made = Trial(Choice("same"), Choice("reading"), Choice("dense"), 0, PROTOCOL)
    dense = bench.dense(made)
    assert dense.train_seconds == 0 and len(dense.sha256) == 64
    assert not list((tmp_path / "checkpoints").glob("*.safetensors"))


def stored(results: list, folder: Path):
    store = Store(folder / "results.duckdb")
    journal = store.open_run(Run("r", "r", "2026-01-01", "", "", 1, tuple(result.trial.id for result in results)))
    for result in results:
        journal.append(result)
    journal.close()
    store.merge()
    return open_results(folder / "results.duckdb")


TIMED = replace(PROTOCOL, latency=LatencyProtocol(batch=(1,), groups=2, max_seconds=0.05, decode=31), metrics=())


def test_prefill_and_decode_are_rows_of_their_own(bench: Workbench, tmp_path: Path):
    asked = [replace(trial(method), protocol=TIMED) for method in (Choice("dense"), Choice("drop_blocks", {"drop": 1}))]
    results = [run_trial(each, bench) for each in asked]
    assert [result.status for result in results] == ["ok", "ok"]
    rows = stored(results, tmp_path).query("from token_speeds where not is_dense order by mode").to_dicts()
    modes = [(row["mode"], row["token_count"], row["context"]) for row in rows]
    assert modes == [("decode", 1, 31), ("prefill", 32, None)]
    assert rows[0]["cache_bytes"] == rows[0]["dense_cache_bytes"] / 2 == 2 * 1 * 1 * 8 * 31 * 4
    assert rows[0]["tokens_per_second"] == pytest.approx(1000 / rows[0]["latency_ms"])
    assert rows[1]["tokens_per_second"] == pytest.approx(32 * 1000 / rows[1]["latency_ms"])


def test_decoding_is_no_forward_pass_of_the_speed_tables(bench: Workbench, tmp_path: Path):
    asked = [replace(trial(method), protocol=TIMED) for method in (Choice("dense"), Choice("drop_blocks", {"drop": 1}))]
    opened = stored([run_trial(each, bench) for each in asked], tmp_path)
    assert opened.query("select count(*) from speedups").item() == 2
    assert opened.query("select count(*) from speedup_means").item() == 2
    assert opened.query("select count(*) from trials join speedups using (trial_id)").item() == 2
    headline = "select count(*) from trials as t join speedups as s using (trial_id) where t.speedup = s.speedup"
    assert opened.query(headline).item() == 2
    assert opened.query("select count(*) from floors where is_decode").item() == 1


def test_three_denominators_of_a_ratio_stand_in_the_row(bench: Workbench, tmp_path: Path):
    methods = [Choice("dense"), Choice("low_rank", {"rank_ratio": 0.25}), Choice("drop_blocks", {"drop": 1})]
    methods += [Choice("magnitude", {"keep": 0.5}), Choice("rtn", {"bits": 8})]
    quiet = replace(PROTOCOL, metrics=())
    opened = stored([run_trial(replace(trial(method), protocol=quiet), bench) for method in methods], tmp_path)
    columns = "method, compression_ratio, block_ratio, stored_ratio, block_parameter_count"
    rows = {row["method"]: row for row in opened.query(f"select {columns} from trials").to_dicts()}
    block = 2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 24
    assert rows["dense"]["block_parameter_count"] == 2 * block and rows["dense"]["block_ratio"] == 1
    assert rows["drop_blocks"]["block_ratio"] == 2
    whole = 2 * (block + 2 * 16) + 256 * 16 + 16
    assert rows["drop_blocks"]["compression_ratio"] == pytest.approx(whole / (whole - block - 2 * 16))
    factors = 2 * (2 * 4 * (16 + 16) + 2 * 2 * (16 + 8) + 3 * 4 * (16 + 24))  # ranks are a quarter of the smaller side
    assert rows["low_rank"]["block_parameter_count"] == factors
    assert rows["magnitude"]["block_ratio"] > rows["magnitude"]["compression_ratio"] > 1
    assert rows["rtn"]["stored_ratio"] > 1.2 > rows["rtn"]["block_ratio"]  # scales are parameters, too


PROTOCOL_COLUMNS = (
    "corpus split joined_by tokenizer tokenizer_sha256 first_token window_length stride tail windows tokens is_partial "
    "calibration_corpus calibration_split calibration calibration_samples calibration_seed overlap_removed dense_hash "
    "dtype tf32 attention torch packages"
)


def test_every_column_of_the_protocol_stands_in_the_row(bench: Workbench, tmp_path: Path):
    quiet = replace(PROTOCOL, metrics=())
    asked = [trial(Choice("dense")), trial(Choice("mlp_width", {"keep": 0.5}))]
    results = [run_trial(replace(each, protocol=quiet), bench) for each in asked]
    (row,) = stored(results, tmp_path).query("from perplexities where method = 'mlp_width'").to_dicts()
    missing = [name for name in PROTOCOL_COLUMNS.split() if row[name] is None]
    assert missing == []
    assert (row["windows"], row["tokens"], row["window_length"], row["stride"]) == (20, 20 * 31, 32, 32)
    assert (row["corpus"], row["split"], row["calibration_split"]) == ("a.txt", "the last of ten pieces", "train")
    assert (row["calibration_samples"], row["calibration_seed"], row["dtype"]) == (16, 0, "float32")
    measured = {result.trial.method.use: result.measurement.scores["perplexity"] for result in results}
    assert row["perplexity"] == measured["mlp_width"] and row["dense_perplexity"] == measured["dense"]
    assert row["loss_difference_low"] < row["loss_difference"] < row["loss_difference_high"]


class Plain(nn.Module):
    """A language model whose blocks nobody knows."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embedding, self.mixing = nn.Embedding(outputs, 16), nn.GRU(16, 16, batch_first=True)
        self.inner, self.head = nn.Linear(16, 32), nn.Linear(32, outputs)

    def forward(self, tokens):
        return self.head(self.inner(self.mixing(self.embedding(tokens))[0]).relu())


@dataclass(frozen=True)
class Strange(Model):
    """Of an unknown architecture."""

    name = "strange"
    objectives = ("language_modelling",)
    input_shape = (32,)

    def build(self, outputs: int) -> nn.Module:
        return Plain(outputs)


def test_methods_of_single_layers_run_where_blocks_are_unknown(bench: Workbench):
    bench.installed = find_installed().named("model", "strange", Strange)
    asked = {
        name: trial(Choice(name, params))
        for name, params in [
            ("low_rank", {"rank_ratio": 0.5}),
            ("magnitude", {"keep": 0.5}),
            ("mlp_width", {"keep": 0.5}),
            ("drop_blocks", {"drop": 1}),
        ]
    }
    found = {name: run_trial(replace(each, model=Choice("strange")), bench) for name, each in asked.items()}
    assert [found[name].status for name in ("low_rank", "magnitude")] == ["ok", "ok"]
    for name in ("mlp_width", "drop_blocks"):
        assert found[name].status == "skipped" and "anatomy of this network is not known" in found[name].reason
    assert found["low_rank"].measurement.block_parameter_count is None


def test_a_network_without_a_cache_says_that_decoding_is_not_timed(bench: Workbench):
    bench.installed = find_installed().named("model", "strange", Strange)
    result = run_trial(replace(trial(Choice("dense")), model=Choice("strange"), protocol=TIMED), bench)
    assert [row.mode for row in result.measurement.latency] == ["prefill"]
    assert "decoding is not timed: the model has no cache, which decoding needs" in result.measurement.notes


def test_a_trial_without_room_says_what_it_needs(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("prunebench.measure.memory_need.ROOMY_BYTES", 1 << 60)
    monkeypatch.setattr("prunebench.trial.memory_check.free_bytes", lambda device: 20_000)
    result = run_trial(trial(Choice("magnitude")), bench)
    assert result.status == "oom" and result.measurement is None
    assert re.fullmatch(
        r"the trial needs \d\.\d MB \(dense 0\.0 MB, pruned 0\.0 MB, working \d\.\d MB\) on cpu, where 0\.\d MB "
        r"are to be had: take fewer or shorter samples, a narrower type or a larger device",
        result.reason,
    ), result.reason
    monkeypatch.setattr("prunebench.trial.memory_check.gram_bytes", lambda shapes, anatomy: 1 << 50)
    monkeypatch.setattr("prunebench.trial.memory_check.free_bytes", lambda device: 1 << 30)
    notes = run_trial(trial(Choice("magnitude")), bench).measurement.notes
    assert any(
        note.startswith("Gram matrices of all layers would take 1125899.9 GB, 1.1 GB are free") for note in notes
    )
