"""Faults 21 to 26: what things are called and where they lie."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import store_samples as samples
from numbered import Bench, Refuses, fault
from prunebench.engine.session import check_writable
from prunebench.errors import DeviceError, GridError, StoreError
from prunebench.grid.grid import Grid
from prunebench.measure.latency.turn import default_folder, made_folder
from prunebench.plugins.discovery import Installed
from prunebench.store import Store, open_results

GRID = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\nseed = 0\nmethod = "dense"\n'
NAMES = [
    "../../x",
    "/abs",
    "a/b",
    "",
    ".",
    "..",
    "a\0b",
    "x" * 300,
    "-rf",
    "dot.",
    "con",
    "COM1.txt",
    "a\u202eb",
    "a b",
]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:20] for name in NAMES])
@fault(21, "a name that leaves its folder, is empty, an option, a device or steers the screen", "the allowed pattern")
def test_a_name_that_is_no_plain_word_is_refused(name: str) -> None:
    text = "".join(f"\\u{ord(c):04x}" for c in name)
    with pytest.raises(GridError, match=r"is not allowed: use \[A-Za-z0-9\]\[A-Za-z0-9._-\]\{0,63\}"):
        Grid.parse(f'name = "{text}"\n' + GRID)


@fault(22, "two runs of one name", "each has its own id, nothing is mixed")
def test_two_runs_of_one_name_are_two_runs(tmp_path: Path) -> None:
    from prunebench.engine.session import Prepared, run_record
    from prunebench.grid.plan import Plan

    grid = Grid.parse("name = 'same'\n" + GRID)
    prepared = Prepared(Plan(grid, ()), Installed(), Store(tmp_path / "r.duckdb"), {}, ())
    first, second = run_record(prepared), run_record(prepared)
    assert first.name == second.name == "same"
    assert first.id != second.id
    store = Store(tmp_path / "r.duckdb")
    store.open_run(first).close()
    with pytest.raises(StoreError, match="a run's id is used once"):
        store.open_run(first)


@fault(23, "two names that look alike (NFC and NFD)", "both are refused: names are ASCII")
def test_names_that_only_look_alike_are_refused(refuses: Refuses) -> None:
    for name in ("caf\u00e9", "cafe\u0301"):
        refuses(f'name = "{name}"\n{GRID}', "is not allowed: use")


@fault(24, "a link that leads out of the results' folder", "the link is replaced or refused, never written through")
def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    from prunebench.report import replace_bytes

    outside, inside = tmp_path / "outside", tmp_path / "runs"
    inside.mkdir()
    outside.write_text("precious")
    store = Store(inside / "results.duckdb")
    with store.open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial()))
    report = inside / "report.html"
    report.symlink_to(outside)
    replace_bytes(report, b"page")
    (store.folder / "run-2.jsonl").symlink_to(outside)
    with pytest.raises(StoreError, match="has a journal already"):
        store.open_run(samples.run("run-2"))
    (store.folder / "run-2.jsonl").unlink()
    (store.folder / "next.duckdb").symlink_to(outside)
    store.merge()
    assert outside.read_text() == "precious"
    assert not report.is_symlink() and report.read_bytes() == b"page"


@fault(25, "a results' folder that cannot be made or written", "one line before any trial starts")
def test_a_folder_that_cannot_be_written_stops_before_the_first_trial(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "file").write_text("")
    said = bench("run", "--grid", "grid.toml", "--db", "file/results.duckdb")
    assert said.code == 2
    assert said.err == "bench: file cannot be written: File exists; choose another with --db\n"
    with pytest.raises(StoreError, match="cannot be written"):
        check_writable(Path("/proc/none"))


def make_sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table t (a)")
    connection.commit()
    connection.close()


MAKE = {
    "folder": lambda path: path.mkdir(),
    "sqlite": make_sqlite,
    "text": lambda path: path.write_text("hello"),
    "empty": lambda path: path.touch(),
}


@pytest.mark.parametrize("kind", MAKE)
@fault(26, "--db names a folder, an SQLite file, a text or an empty file", "not a results database; it stays as it was")
def test_what_is_no_results_database_is_refused_untouched(bench: Bench, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    MAKE[kind](path)
    before = path.read_bytes() if path.is_file() else sorted(path.iterdir())
    (tmp_path / "grid.toml").write_text(GRID)
    for words in (("run", "--grid", "grid.toml"), ("plan", "--grid", "grid.toml"), ("runs",)):
        said = bench(*words, "--db", "thing")
        assert said.code == 2
        assert "not a results database" in said.err and said.err.count("\n") == 1
        assert said.err.count("with --db") == 1
    with pytest.raises(StoreError, match="not a results database"):
        open_results(path)
    assert (path.read_bytes() if path.is_file() else sorted(path.iterdir())) == before
    assert not list(tmp_path.glob("thing.*corrupt*"))


@fault(26, "--db with a backslash, or not UTF-8", "refused before anything runs; a sound database stays as it was")
def test_a_path_that_duckdb_cannot_open_is_refused_untouched(bench: Bench, tmp_path: Path) -> None:
    good = Store(tmp_path / "good.duckdb")
    with good.open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial()))
    good.merge()
    (tmp_path / "grid.toml").write_text(GRID)
    for folder, words in (("x\\y", "a path with a backslash"), (os.fsdecode(b"bad\xff"), "is not UTF-8")):
        (tmp_path / folder).mkdir()
        shutil.copy(good.path, tmp_path / folder / "r.duckdb")
        for command in (("query", "select 1"), ("run", "--grid", "grid.toml", "--no-report")):
            said = bench(*command, "--db", f"{folder}/r.duckdb")
            assert said.code == 2 and words in said.err and said.err.count("\n") == 1, said
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["r.duckdb"]


@fault(
    26,
    "--db that is a FIFO; a folder or a FIFO among the journals",
    "one line; the latter are no journals, `bench db check` names them",
)
def test_what_is_no_regular_file_is_neither_database_nor_journal(bench: Bench, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.duckdb")
    assert "not a regular file, so not a results database" in bench("db", "check", "--db", "fifo.duckdb").err
    store = Store(tmp_path / "r.duckdb")
    with store.open_run(samples.run()) as journal:
        journal.append(samples.result(samples.trial()))
    (store.folder / "folder.jsonl").mkdir()
    os.mkfifo(store.folder / "fifo.jsonl")
    store.merge()
    said = bench("db", "check", "--db", "r.duckdb")
    named = [f"r.journal/{name}.jsonl: not a regular file, so not a journal" for name in ("fifo", "folder")]
    assert said.code == 1 and [name in said.out + said.err for name in named] == [True, True]
    assert bench("query", "select count(*) from trials", "--csv", "--db", "r.duckdb").out.endswith("\n1\n")


@fault(25, "a folder for locks that cannot be made, or is another user's", "one line that names it and the fix")
def test_locks_lie_in_a_folder_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_LOCKS", "/proc/nowhere")
    with pytest.raises(DeviceError, match=r"/proc/nowhere: locks cannot be kept here .*PRUNEBENCH_LOCKS"):
        made_folder()
    monkeypatch.setenv("PRUNEBENCH_LOCKS", str(tmp_path / "link"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(DeviceError, match="belongs to another user"):
        made_folder()
    monkeypatch.setenv("PRUNEBENCH_LOCKS", str(tmp_path / "theirs"))
    made_folder()
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(DeviceError, match="belongs to another user"):
        made_folder()


@fault(60, "two runs with another TMPDIR each", "they meet at the same locks")
def test_the_place_for_locks_does_not_follow_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNEBENCH_LOCKS")
    before = default_folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert default_folder() == before
