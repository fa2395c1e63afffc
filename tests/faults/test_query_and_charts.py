"""Faults 66 to 78: `bench query`, charts and pages."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
import store_samples as samples
from numbered import Bench, fault
from prunebench.errors import PruneBenchError, QueryError
from prunebench.report.draw import alone
from prunebench.report.export import chart_rows, picture
from prunebench.report.generic import points
from prunebench.report.markup import esc
from prunebench.report.scope import Scope
from prunebench.report.text import script_json
from prunebench.store import Store, open_results
from prunebench.store.sealed_child import Request, answers_to
from prunebench.store.sealed_client import sealed_query
from prunebench.writing import printable

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e\u2028\x00\x07'\"&"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("query") / "results.duckdb")
    with store.open_run(samples.run()) as journal:
        for seed in range(2):
            for rank in (None, 2, 4):
                journal.append(samples.result(samples.trial(rank, seed)))
    store.merge()
    return store.path


def answer(database: Path, sql: str, monkeypatch: pytest.MonkeyPatch, row_limit: int = 10) -> str:
    """The error of a sealed query without the child's start-up, empty where it was answered."""
    from prunebench.store import sealed_child as sandbox

    monkeypatch.setattr(sandbox, "_limit_process", lambda request: None)
    (given,) = answers_to(Request(str(database), [sql], seconds=5, row_limit=row_limit))
    return given.error


@fault(66, "SQL that would overwrite the database, read a file or unlock the seal", "refused; nothing changes")
def test_the_seal_holds_against_its_worst_attacks(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = database.read_bytes()
    overwrite = f"with w as (copy (select 1) to '{database}' (format csv, use_tmp_file false)) select * from w"
    for sql in (overwrite, "select * from read_text('/etc/passwd')", "set lock_configuration = false"):
        assert answer(database, sql, monkeypatch)
    assert database.read_bytes() == before


@fault(67, "two statements", "their number, and that one select is expected")
def test_two_statements_are_one_too_many(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(database, "select 1; select 2", monkeypatch).startswith("2 statements; one select at a time")


@pytest.mark.parametrize("sql", ["", "   ", "-- nothing", "/* */", ";;"])
@fault(68, "no SQL, or only a comment", "no statement; write a select")
def test_nothing_asked_is_said(database: Path, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    assert answer(database, sql, monkeypatch) == "no statement; write a select"


ENDLESS = {
    "a string of 4 GB": "select repeat('x', 4000000000)",
    "a list of 10⁹": "select len(range(1000000000))",
    "recursion": "with recursive r as (select 1 as n union all select n + 1 from r) select count(*) from r",
    "50,000 terms": "select count(*) from trials where " + " and ".join(["seed is not null"] * 50_000),
}


@pytest.mark.parametrize("kind", ENDLESS)
@fault(69, "a string of 4 GB, a list of 10⁹, endless recursion, 50,000 terms", "stopped by time and memory, one line")
def test_a_query_without_end_is_stopped(database: Path, kind: str) -> None:
    start = time.monotonic()
    try:
        sealed_query(database, ENDLESS[kind], seconds=1.0)
    except QueryError as error:
        assert len(str(error).splitlines()[0]) < 400
    else:
        assert kind == "50,000 terms"
    assert time.monotonic() - start < 20


@fault(70, "a result of 10⁸ rows", "the first ones, and a note")
def test_a_long_result_is_cut_with_a_note(bench: Bench, database: Path) -> None:
    said = bench("query", "select * from range(100000000)", "--csv", "--limit", "5", "--db", str(database))
    assert said.code == 0
    assert said.out.splitlines() == ["range", "0", "1", "2", "3", "4"]
    assert said.err == "bench: only the first 5 rows; --limit shows more\n"


@fault(71, "a query while a merge runs", "a complete state: before it or after it")
def test_a_query_during_merges_sees_whole_runs(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.duckdb")
    stop = threading.Event()

    def write() -> None:
        for number in range(200):
            with store.open_run(samples.run(f"run-{number}")) as journal:
                journal.append(samples.result(samples.trial(seed=number)))
            Store(store.path).merge()
            if stop.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    while not store.path.exists():
        time.sleep(0.01)
    for _ in range(5):
        with open_results(store.path) as results:
            counts.append(results.query("select count(*), count(distinct trial_id), min(seed) from trials").row(0))
    stop.set()
    writer.join()
    assert [row[0] for row in counts] == sorted(row[0] for row in counts)
    assert all(rows == distinct and least == 0 for rows, distinct, least in counts)


@fault(72, "bytes, NUL, escape and direction characters in a cell", "shown as escapes, in every format")
def test_nothing_in_a_cell_reaches_the_terminal_raw(bench: Bench, database: Path) -> None:
    sql = "select chr(27) || '[31m' || chr(7) || chr(0) || chr(8238) || chr(155) as a, '\\xFF\\x00'::blob as b"
    for form in ([], ["--csv"], ["--json"], ["--markdown"], ["--latex"]):
        said = bench("query", sql, *form, "--db", str(database))
        assert said.code == 0
        raw = set(said.out) & set("\x1b\x07\x00\u202e\x9b")
        assert not raw or form == ["--csv"], form  # a file keeps what it was given; a terminal never sees it
    assert r"\x1b[31m\x07\x00\u202e\x9b" in bench("query", sql, "--db", str(database)).out


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a specification holds."""
    (rows,) = spec["datasets"].values()
    return list(rows)


def chart_text(frame: pl.DataFrame) -> str:
    return json.dumps(points(frame).to_dict(validate=False))


@fault(73, "nothing measured, only NaN, or one row", "the chart or the page says so")
def test_a_chart_of_nothing_says_so(database: Path) -> None:
    from prunebench.report.charts import load

    chart = load("accuracy_compression")
    with open_results(database) as results:
        empty = chart_rows(chart, results, Scope(query="select trial_id from trials where false"))
    assert chart.empty in json.dumps(alone(chart, empty).to_dict(validate=False))
    assert "The query returned no rows." in chart_text(pl.DataFrame({"a": [], "b": []}))
    nan = chart_text(pl.DataFrame({"a": [float("nan")], "b": [float("inf")]}))
    assert '"c0": null' in nan and "NaN" not in nan and "Infinity" not in nan


ODD = ["a.b", "a[0]", 'a"b', "a:Q", "", "constructor", "\\", "a\nb", "__proto__"]


@pytest.mark.parametrize("name", ODD)
@fault(74, "columns called a.b, a[0], a:Q, constructor or nothing at all", "drawn, under their names")
def test_a_column_of_any_name_is_drawn(name: str) -> None:
    spec = points(pl.DataFrame({name: [1.0, 2.0], f"{name}2": [3.0, 4.0]})).to_dict(validate=False)
    assert spec["encoding"]["x"]["field"] == "c0" and spec["encoding"]["y"]["field"] == "c1"
    assert [row["c0"] for row in values(spec)] == [1.0, 2.0]
    assert spec["encoding"]["x"]["title"].rstrip("\xa0") == printable(name)


@pytest.mark.parametrize("count, every", [(5001, "2nd"), (100_000, "20th")])
@fault(75, "5,001 and 100,000 points", "drawn from every n-th, and a note says so")
def test_many_points_are_thinned_with_a_note(count: int, every: str) -> None:
    spec = points(pl.DataFrame({"a": range(count), "b": range(count)})).to_dict(validate=False)
    assert 2000 < len(values(spec)) <= 5000
    assert f"Every {every} of {count:,} rows" in spec["title"]["subtitle"][0]


def spec_of(label: str, **more: object) -> dict[str, object]:
    return {
        "data": {"values": [{"a": label, "b": 1}]},
        "mark": "bar",
        "encoding": {
            "x": {"field": "a", "type": "nominal", "title": label},
            "y": {"field": "b", "type": "quantitative"},
        },
        **more,
    }


@fault(76, "control characters in a label of a picture", "drawn as escapes; the renderer lives")
def test_control_characters_in_labels_do_not_end_the_renderer() -> None:
    svg = picture(spec_of("".join(map(chr, range(32))) + "\uffff\x7fx"), "svg").decode()
    assert "\\x00" in svg
    ElementTree.fromstring(svg)  # it is XML, which no control character may be in


@fault(77, "a picture whose specification names a URL or a file", "nothing is fetched; one line says why")
def test_a_picture_fetches_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\nprecious,1\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        for url in (f"http://127.0.0.1:{server.getsockname()[1]}/x.csv", f"file://{secret}", str(secret)):
            try:
                drawn = picture(spec_of("a", data={"url": url}), "svg")
            except PruneBenchError as error:
                assert "\n" not in str(error)
            else:
                assert b"precious" not in drawn
        with pytest.raises(TimeoutError):
            server.accept()


@fault(78, "a javascript: address, `</script>` or a handler in a name", "it is text; no link comes from data")
def test_names_are_text_in_pages() -> None:
    assert "<" not in esc(HOSTILE) and '"' not in esc(HOSTILE)
    made = script_json({HOSTILE: ["javascript:alert(1)", HOSTILE]})
    assert not set("<>&\u2028\u2029") & set(made)
    assert json.loads(made) == {HOSTILE: ["javascript:alert(1)", HOSTILE]}
    sources = (Path(__file__).parents[2] / "framework" / "prunebench" / "report").rglob("*.py")
    channels = [path.name for path in sources if re.search(r"alt\.(Href|Url)\(|href=alt|url=alt", path.read_text())]
    assert channels == []


@fault(66, "SQL that is not UTF-8", "one line")
def test_sql_that_is_not_utf8_is_one_line(bench: Bench) -> None:
    said = bench("query", "select '\udcff'")
    assert (said.code, said.err) == (2, "bench: the SQL is not UTF-8\n")


def test_sql_of_utf8_is_read_where_the_locale_is_one_of_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    from prunebench.cli import query

    monkeypatch.setattr(query.os, "fsencode", lambda text: text.encode("ascii", "surrogateescape"))
    assert query._utf8("select '\udcc2\udcb7'") == "select '\u00b7'"
    assert query._utf8("select '\udcff'") == "select '\udcff'", "other bytes stay as they are, and are refused"


@fault(72, "a standard output that cannot show a character", "an escape in its place; the command goes on")
def test_a_stream_that_knows_ascii_alone_has_escapes() -> None:
    script = "from prunebench.cli import complete_streams; complete_streams(); print('a \\u00b7 b')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "a \\xb7 b\n"
