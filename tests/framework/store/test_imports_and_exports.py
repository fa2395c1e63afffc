"""Results travel between databases and leave as Parquet."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import duckdb
import polars as pl
import pytest
import store_samples as samples
from click.testing import CliRunner
from prunebench.cli.export import command as export_command
from prunebench.cli.merge import command as merge_command
from prunebench.errors import NotADatabase, StoreError
from prunebench.records import Choice
from prunebench.store import Store, open_results
from prunebench.store.export import export
from prunebench.store.taking import PARTS, import_results
from prunebench.store.views import column_comments

WHOLE = ("curves", "metrics", "stages", "failures", "latency_samples")
EVERYTHING = ("trials", "speedups", "comparison", "layers", *WHOLE)


def make(path: Path, run_id: str, seeds: range, width: int = 8) -> Store:
    store = Store(path)
    model = Choice("tiny", {"width": width})
    with store.open_run(samples.run(run_id)) as journal:
        for seed in seeds:
            for rank in (None, 2, 4):
                journal.append(samples.result(samples.trial(rank, seed, model=model)))
        failed = samples.result(
            samples.trial(64, seeds[0], model=model), status="failed", detail="why", measurement=None
        )
        journal.append(failed)
    store.merge()
    return store


def everything(store: Store, view: str) -> pl.DataFrame:
    with open_results(store.path) as results:
        return results.query(f"select * from {view} order by all")


def test_another_database_brings_every_fact_with_it(tmp_path: Path) -> None:
    a, b = (
        make(tmp_path / "a" / "r.duckdb", "a", range(2)),
        make(tmp_path / "b" / "r.duckdb", "b", range(2, 4), width=9),
    )
    both = Store(tmp_path / "c" / "r.duckdb")
    for part in (a, b):
        import_results(both, part.path)
    for view in EVERYTHING:
        parts, found = [everything(a, view), everything(b, view)], everything(both, view)
        assert len(found) == sum(map(len, parts)), view
        if view in WHOLE:
            assert found.sort(pl.all()).equals(pl.concat(parts).sort(pl.all())), view
    assert both.check() == []


def test_merging_twice_adds_nothing(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb", "a", range(2)), make(tmp_path / "b.duckdb", "b", range(1, 3))
    assert import_results(a, b.path).report.result_count == 7
    assert import_results(a, b.path).report.result_count == 0
    copied = tmp_path / "copy.duckdb"
    shutil.copy(b.path, copied)
    assert import_results(a, copied).report.result_count == 0
    make(tmp_path / "b.duckdb", "b2", range(5, 6))  # b grows: only what is new is taken
    assert import_results(a, b.path).report.result_count == 4
    assert a.check() == []


def test_a_database_that_took_another_in_gives_it_back_whole(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb", "a", range(1)), make(tmp_path / "b.duckdb", "b", range(1, 2))
    import_results(a, b.path)
    assert import_results(b, a.path).report.result_count == 4
    assert everything(a, "trials").equals(everything(b, "trials"))


def test_a_rebuild_keeps_what_was_taken_in(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb", "a", range(1)), make(tmp_path / "b.duckdb", "b", range(1, 2))
    import_results(a, b.path)
    before = everything(a, "trials")
    shutil.rmtree(b.folder)
    b.path.unlink()
    a.rebuild()
    assert everything(a, "trials").equals(before)


def test_journal_tails_of_the_other_database_come_too(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb", "a", range(1)), make(tmp_path / "b.duckdb", "b", range(1, 2))
    with b.open_run(samples.run("late")) as journal:
        journal.append(samples.result(samples.trial(32)))
    assert import_results(a, b.path).report.result_count == 5


def test_what_cannot_be_merged_is_named(tmp_path: Path) -> None:
    a = make(tmp_path / "a.duckdb", "a", range(1))
    with pytest.raises(StoreError, match="no such file"):
        import_results(a, tmp_path / "none.duckdb")
    with pytest.raises(StoreError, match="this is the database itself"):
        import_results(a, a.path)
    with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
        connection.execute("create table t (a int)")
    with pytest.raises(NotADatabase, match=r"not a results database; nothing is imported$"):
        import_results(a, tmp_path / "other.duckdb")


def test_the_command_says_how_many(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb", "a", range(1)), make(tmp_path / "b.duckdb", "b", range(1, 2))
    run = CliRunner().invoke(merge_command, [str(b.path), "--db", str(a.path), "--json"])
    assert json.loads(run.output)["results"] == 4
    run = CliRunner().invoke(merge_command, ["--db", str(a.path)])
    assert run.output == f"0 new results in {a.path}\n"


def test_an_export_is_parquet_with_a_manifest_that_is_true(tmp_path: Path) -> None:
    store = make(tmp_path / "r.duckdb", "a", range(2))
    manifest = export(store.path, tmp_path / "out")
    assert [file["view"] for file in manifest["files"]] == list(column_comments()["view"])
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    for file in manifest["files"]:
        data = (tmp_path / "out" / file["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
        frame = pl.read_parquet(data)
        assert (len(frame), frame.columns) == (file["rows"], [column["name"] for column in file["columns"]])
    trials = pl.read_parquet(tmp_path / "out" / "trials.parquet")
    assert sorted(trials["rank"].drop_nulls()) == [2, 2, 4, 4, 64]


def test_an_export_needs_a_new_folder_and_known_views(tmp_path: Path) -> None:
    store = make(tmp_path / "r.duckdb", "a", range(1))
    with pytest.raises(StoreError, match="already exists"):
        export(store.path, tmp_path)
    with pytest.raises(StoreError, match="no view 'trails', did you mean 'trials'"):
        export(store.path, tmp_path / "out", ["trails"])
    run = CliRunner().invoke(
        export_command, [str(tmp_path / "o"), "--view", "trials", "--run", "a", "--db", str(store.path)]
    )
    assert run.output == f"{tmp_path / 'o' / 'trials.parquet'}: 4 rows\n"
    assert not list(tmp_path.glob(".*partial*"))


def test_every_table_of_a_result_is_taken_over(tmp_path: Path) -> None:
    store = make(tmp_path / "one.duckdb", "one", range(1))
    with duckdb.connect(str(store.path), read_only=True) as connection:
        rows = connection.execute(
            "select table_name from duckdb_columns() where column_name = 'result' "
            "and table_name in (select table_name from duckdb_tables())"
        ).fetchall()
    refer_to_more = {"latency", "pair", "superseded"}  # each has its own statement
    assert {name for (name,) in rows} == {*PARTS, *refer_to_more}
