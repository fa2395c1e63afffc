"""Whatever a plugin returns becomes a row; whenever a journal is cut, the database is the same in the end."""

from __future__ import annotations

import html
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import store_samples as samples
from hypothesis import HealthCheck, given, settings
from prunebench.cli.tables import clean, json_text, latex_text, markdown_text
from prunebench.engine.worker.messages import Report
from prunebench.engine.worker.validity import encoded
from prunebench.records import Result, decode
from prunebench.report.markup import esc
from prunebench.report.text import script_json
from prunebench.store import Store, open_results
from prunebench.store.plain import csv_text
from prunebench.writing import printable, quoted

FIELDS = ("loss", "top1_accuracy", "correct", "parameter_count", "mac_count", "stored_bytes", "storage", "realised",
          "notes", "metrics", "achieved", "solved", "layers", "latency", "curve", "stages")  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(lambda: None)
    | st.sampled_from([object(), 1j, math.nan, 2**63, -(2**63) - 1, "\ud800", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
QUICK = settings(max_examples=150, deadline=None)


@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3))
@QUICK
def test_anything_that_a_plugin_returns_is_a_result_that_reads_back(measured: dict[str, Any]) -> None:
    made = samples.result(samples.trial(), measurement=samples.measurement(**measured))
    line = encoded(made)
    result = decode(line, Report).result
    assert isinstance(result, Result) and b"\n" not in line
    assert result.trial == made.trial
    if result.status == "failed":
        assert result.reason.startswith("invalid result: ") and result.measurement is None


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=2), min_size=1, max_size=12))
@settings(max_examples=6, deadline=None)
def test_every_result_of_a_plugin_is_a_row(returned: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "results.duckdb")
        with store.open_run(samples.run()) as journal:
            for seed, measured in enumerate(returned):
                made = samples.result(samples.trial(seed=seed), measurement=samples.measurement(**measured))
                result = decode(encoded(made), Report).result
                assert result is not None
                journal.append(result)
        assert store.merge().result_count == len(returned)
        assert store.check() == []


unsafe = set(map(chr, (*range(32), *range(127, 160), 0x200E, 0x200F, 0x202E, 0x2028, 0x2029, 0x2066, 0xFEFF)))
texts = st.text(st.characters() | st.sampled_from(sorted(unsafe) + list("<>&\"'\\|$%{}`")), max_size=40)


@given(texts)
@QUICK
def test_no_name_steers_a_terminal(name: str) -> None:
    assert not set(clean(name)) & unsafe
    assert not set(printable(name)) & unsafe
    clean(name).encode()  # no lone surrogate is left


@given(texts)
@QUICK
def test_any_name_is_only_text_in_a_page(name: str) -> None:
    for made in (esc(name), esc(f'" onload="{name}')):
        assert not set(made) & {"<", ">", '"', "'"}
        assert html.unescape(made).endswith(printable(name))
    try:
        script = script_json([name])
    except UnicodeEncodeError:
        assert any("\ud800" <= c <= "\udfff" for c in name)
    else:
        assert not set(script) & set("<>&\u2028\u2029")
        assert json.loads(script) == [name]


@given(st.lists(texts, min_size=1, max_size=3))
@QUICK
def test_any_name_is_one_cell_in_every_format(row: list[str]) -> None:
    columns = [f"c{i}" for i in range(len(row))]
    assert [list(one.values()) for one in json.loads(json_text(columns, [row]))] == [row]
    assert markdown_text(columns, [row]).count("\n") == 3
    assert latex_text(columns, [row]).count("\\\\\n") == 2
    assert csv_text(columns, [row]).splitlines()[0] == ",".join(columns)


@given(texts)
@settings(max_examples=100, deadline=None)
def test_any_name_is_one_literal_in_sql(name: str) -> None:
    import duckdb

    name = name.encode(errors="replace").decode()
    with duckdb.connect() as connection:
        assert connection.execute(f"select {quoted(name)}").fetchone() == (name,)
        assert len(connection.extract_statements(f"select {quoted(name)}")) == 1


def journals_of(folder: Path) -> list[bytes]:
    """Two journals that share a trial, as bytes."""
    store = Store(folder / "first.duckdb")
    for number in range(2):
        with store.open_run(samples.run(f"run-{number}")) as journal:
            for seed in range(number, number + 3):
                status = "failed" if (seed, number) == (1, 0) else "ok"
                facts: dict[str, Any] = {} if status == "ok" else {"measurement": None, "reason": "broke"}
                journal.append(samples.result(samples.trial(seed=seed), status=status, **facts))
    return [path.read_bytes() for path in store.journals()]


def content(store: Store) -> list[tuple[Any, ...]]:
    sql = "select trial_id, status, run_id, attempt, top1_accuracy, reason from attempts order by all"
    with open_results(store.path) as results:
        return list(results.query(sql).rows())


@given(st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_however_journals_are_cut_and_merged_the_database_is_the_same(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = journals_of(folder)
        store = Store(folder / "second.duckdb")
        store.folder.mkdir()
        for number in data.draw(st.permutations(range(len(whole)))):
            path, journal = store.folder / f"run-{number}.jsonl", whole[number]
            for cut in sorted(data.draw(st.lists(st.integers(0, len(journal)), max_size=2))):
                with path.open("ab") as file:
                    file.write(journal[path.stat().st_size : cut])
                Store(store.path).merge()
                if data.draw(st.booleans()) and store.path.exists():
                    os.utime(store.path)  # as if somebody had touched it
            with path.open("ab") as file:
                file.write(journal[path.stat().st_size :])
        Store(store.path).merge()
        plain = Store(folder / "first.duckdb")
        plain.merge()
        assert content(store) == content(plain)
        assert store.check() == []
