"""Merging and publishing: exactly once, by rename, past every kind of file that should not be there."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pytest
import store_samples as samples
from prunebench.errors import NewerDatabase, NotADatabase, StoreError
from prunebench.records import Choice
from prunebench.store import Journal, Results, Store, open_results, publish
from prunebench.store import database as db
from prunebench.store.publish import holder_of


def count(store: Store, sql: str = "select count(*) from trials") -> int:
    with open_results(store.path) as results:
        return int(results.query(sql).item())


def test_a_merge_publishes_what_was_acknowledged_once(store: Store, journal: Journal) -> None:
    for seed in range(3):
        journal.append(samples.result(samples.trial(seed=seed)))
    assert store.merge().result_count == 3
    assert store.merge().merged is False
    assert Store(store.path).merge().merged is False
    assert count(store) == 3


def test_results_of_two_runs_at_once_are_all_there(store: Store) -> None:
    with store.open_run(samples.run("a")) as a, store.open_run(samples.run("b")) as b:
        for seed in range(4):
            (a if seed % 2 else b).append(samples.result(samples.trial(seed=seed)))
            Store(store.path).merge()
    assert count(store) == 4
    assert store.check() == []


def test_every_attempt_is_kept_and_the_best_is_shown(fill, results: Results) -> None:
    trial = samples.trial()
    failed = samples.result(trial, status="failed", measurement=None, reason="broke", started_at="2026-03-01T00:00:00Z")
    ok = samples.result(trial, attempt=2, started_at="2026-01-01T00:00:00Z")
    later = samples.result(trial, attempt=3, started_at="2026-02-01T00:00:00Z")
    fill(failed, merge=True)
    fill(ok, failed, merge=True)
    fill(later, merge=False)
    assert results.query("select status, attempt from trials").rows() == [("ok", 3)]
    assert results.query("select count(*), count(*) filter (is_superseded) from attempts").rows() == [(4, 3)]
    assert results.query("select * from failures").is_empty()


def test_the_journal_tail_is_seen_before_it_is_merged(store: Store, journal: Journal) -> None:
    journal.append(samples.result(samples.trial(seed=0)))
    assert count(store) == 1  # no database yet
    store.merge()
    journal.append(samples.result(samples.trial(None, seed=0)))
    with open_results(store.path) as results:
        assert results.query("select count(*), count(accuracy_drop), count(rank) from trials").rows() == [(2, 2, 1)]
        assert results.query("select count(*) from comparison where mcnemar_p is not null").item() == 1
        journal.append(samples.result(samples.trial(seed=1)))
        assert results.query("select count(*) from trials").item() == 3


def test_finished_knows_the_best_status_in_file_and_tail(store: Store, journal: Journal) -> None:
    def of(seed: int, **facts: object) -> object:
        return samples.result(samples.trial(seed=seed), **facts)

    journal.append(of(0))
    journal.append(of(1, status="failed", measurement=None))
    store.merge()
    journal.append(of(1, attempt=2))
    journal.append(of(2, status="skipped", measurement=None))
    journal.append(of(0, status="killed", measurement=None, attempt=2, started_at="2027-01-01T00:00:00Z"))
    ids = [samples.trial(seed=seed).id for seed in range(4)]
    assert store.finished(ids) == {ids[0]: "ok", ids[1]: "ok", ids[2]: "skipped"}
    assert store.finished([]) == {}


def test_finished_of_an_empty_folder_is_empty(store: Store) -> None:
    assert store.finished(["0" * 16]) == {}


def test_a_reader_of_the_old_file_keeps_it_and_the_merge_goes_on(fill, store: Store) -> None:
    fill(samples.result(samples.trial(seed=0)))
    with duckdb.connect(str(store.path), read_only=True) as notebook:
        for seed in range(1, 5):
            assert fill(samples.result(samples.trial(seed=seed))).path.exists()
            assert notebook.execute("select count(*) from trials").fetchone() == (1,)
    assert count(store) == 5


@pytest.fixture
def with_spares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every file as large, so that merges take turns on two inodes."""
    monkeypatch.setattr(publish, "SPARE_FROM_BYTES", 0)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the publisher copied."""
    made: list[Path] = []
    copy = publish._copy

    def spy(source: Path, target: Path) -> None:
        made.append(source)
        copy(source, target)

    monkeypatch.setattr(publish, "_copy", spy)
    return made


def test_a_large_file_is_not_copied_but_brought_up_to_date_in_turns(fill, store: Store, with_spares, copies) -> None:
    for seed in range(6):
        assert fill(samples.result(samples.trial(seed=seed))).check() == []
    assert len(copies) == 1  # for the second merge: the first had nothing to retire
    assert count(store) == 6


def test_a_spare_that_somebody_still_reads_is_left_alone(fill, store: Store, with_spares, copies) -> None:
    fill(samples.result(samples.trial(seed=0)))
    fill(samples.result(samples.trial(seed=1)))
    with duckdb.connect(str(store.path), read_only=True) as notebook:
        for seed in range(2, 6):
            fill(samples.result(samples.trial(seed=seed)))
        assert notebook.execute("select count(*) from trials").fetchone() == (2,)
    assert len(copies) == 2
    assert count(store) == 6


def test_a_file_put_there_by_hand_is_not_overwritten_by_a_spare_of_another(fill, store: Store, with_spares) -> None:
    fill(samples.result(samples.trial(seed=0)))
    fill(samples.result(samples.trial(seed=1)))
    data = store.path.read_bytes()
    store.path.unlink()
    store.path.write_bytes(data)
    fill(samples.result(samples.trial(seed=2)))
    assert count(store) == 3
    assert store.check() == []


def test_a_merge_that_another_process_is_at_is_postponed_with_its_number(store: Store, journal: Journal) -> None:
    journal.append(samples.result(samples.trial()))
    lock = store.folder / "lock"
    with lock.open("w") as file:
        file.write("4711")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        report = store.merge(wait_seconds=0)
    assert (report.merged, report.held_by) == (False, 4711)
    assert "process 4711 is merging" in report.postponed
    assert store.merge().result_count == 1


HOLD = """
import duckdb, os, sys
os.chmod(sys.argv[1], 0o644)
connection = duckdb.connect(sys.argv[1])
connection.execute("create table mine (a int)")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_that_somebody_writes_to_postpones_the_merge_and_shows_who(fill, store: Store) -> None:
    fill(samples.result(samples.trial(seed=0)))
    holder = subprocess.Popen([sys.executable, "-c", HOLD, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with store.open_run(samples.run("late")) as journal:
            journal.append(samples.result(samples.trial(seed=1)))
        report = store.merge()
        assert (report.merged, report.held_by) == (False, holder.pid)
        assert holder_of(store.path) == holder.pid
        assert "the results are safe" in report.postponed
    finally:
        holder.kill()
        holder.communicate()
    assert store.merge().result_count == 1
    assert count(store) == 2


def test_a_foreign_write_ahead_log_is_moved_aside(fill, store: Store) -> None:
    fill(samples.result(samples.trial(seed=0)))
    wal = store.path.with_name("results.duckdb.wal")
    wal.write_bytes(b"not a log")
    fill(samples.result(samples.trial(seed=1)))
    assert not wal.exists()
    assert len(list(store.path.parent.glob("results.duckdb.wal.foreign-*"))) == 1
    assert count(store) == 2


def test_a_reader_moves_a_foreign_write_ahead_log_aside_too(fill, store: Store) -> None:
    fill(samples.result(samples.trial(seed=0)))
    wal = store.path.with_name("results.duckdb.wal")
    wal.write_bytes(b"not a log")
    assert count(store) == 1
    assert store.finished([samples.trial(seed=0).id])
    assert not wal.exists()


@pytest.mark.parametrize("damage", ["header", "middle", "cut", "empty", "text"])
def test_an_unreadable_database_is_set_aside_and_rebuilt(fill, store: Store, damage: str) -> None:
    fill(*(samples.result(samples.trial(seed=seed)) for seed in range(3)))
    data = bytearray(store.path.read_bytes())
    data[12288 : 12288 + 64] = os.urandom(64)
    broken = {
        "header": bytes(50) + bytes(data[50:]),
        "middle": bytes(data),
        "cut": bytes(data[:5000]),
        "empty": b"",
        "text": b"hello",
    }[damage]
    store.path.chmod(0o644)
    store.path.write_bytes(broken)
    with store.open_run(samples.run("next")) as journal:
        journal.append(samples.result(samples.trial(seed=9)))
    report = Store(store.path).merge()
    assert "moved to results.duckdb.corrupt-" in report.notes[0]
    assert count(store) == 4
    assert [path.read_bytes() for path in store.path.parent.glob("results.duckdb.corrupt-*")] == [broken]


def test_a_query_repairs_an_unreadable_database_by_itself(fill, store: Store) -> None:
    fill(samples.result(samples.trial()))
    store.path.chmod(0o644)
    store.path.write_bytes(store.path.read_bytes()[:6000])
    assert count(store) == 1


def make_sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table t (a)")
    connection.commit()
    connection.close()


def make_duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table t (a int)")


@pytest.mark.parametrize(
    "make", [lambda p: p.write_text("hello"), lambda p: p.write_text(""), make_sqlite, make_duckdb, Path.mkdir],
    ids=["text", "empty", "sqlite", "another duckdb", "folder"],
)  # fmt: skip
def test_what_is_no_results_database_is_refused_and_left_as_it_is(store: Store, make) -> None:
    make(store.path)
    before = store.path.read_bytes() if store.path.is_file() else b""
    for use in (store.merge, lambda: store.finished(["0" * 16]), lambda: open_results(store.path)):
        with pytest.raises(NotADatabase, match="not a results database"):
            use()
    assert (store.path.read_bytes() if store.path.is_file() else b"") == before
    assert not list(store.path.parent.glob("*corrupt*"))


def test_a_database_of_a_newer_prunebench_is_refused_and_left_as_it_is(fill, store: Store) -> None:
    fill(samples.result(samples.trial()))
    store.path.chmod(0o644)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("update meta set value = '999' where key = 'schema'")
    before = store.path.read_bytes()
    with store.open_run(samples.run("next")) as journal:
        journal.append(samples.result(samples.trial(seed=1)))
    for use in (store.merge, lambda: store.finished(["0" * 16]), lambda: open_results(store.path)):
        with pytest.raises(NewerDatabase, match=r"written by a newer prunebench \(schema 999"):
            use()
    assert store.path.read_bytes() == before


def make_older(path: Path, version: int) -> None:
    """Take back what the migrations after `version` added: columns and tables."""
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        names = "select view_name from duckdb_views() where not internal and schema_name = 'main'"
        for (name,) in connection.execute(names).fetchall():
            connection.execute(f'drop view "{name}"')
        for number in range(db.SCHEMA, version, -1):
            for statement in reversed(db.statements(f"migrations/{number:04}.sql")):
                words = statement.split()
                is_column = words[0] == "alter"
                back = f"alter table {words[2]} drop column {words[5]}" if is_column else f"drop table {words[2]}"
                connection.execute(back)
        connection.execute("delete from meta where key = 'views'")
        connection.execute("update meta set value = ? where key = 'schema'", [str(version)])
        connection.execute("delete from migration where version > ?", [version])
    path.chmod(0o444)


@pytest.mark.parametrize("version", range(1, db.SCHEMA + 1))
def test_a_database_of_every_schema_since_the_first_opens(fill, store: Store, version: int) -> None:
    fill(samples.result(samples.trial(seed=0)))
    make_older(store.path, version)
    fill(samples.result(samples.trial(seed=1)))
    assert count(store) == 2
    recorded = "select string_agg(version, ',' order by version) from migration"
    with open_results(store.path) as results:
        assert results.query(recorded).item() == ",".join(map(str, range(1, db.SCHEMA + 1)))


def test_an_older_schema_is_brought_up_to_date_by_its_first_reader(
    fill, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(samples.result(samples.trial(seed=0)))
    known = db.statements
    following = f"migrations/{db.SCHEMA + 1:04}.sql"
    sql = ("alter table result add column mood varchar default 'new'",)
    monkeypatch.setattr(db, "statements", lambda name: sql if name == following else known(name))
    monkeypatch.setattr(db, "SCHEMA", db.SCHEMA + 1)
    with open_results(store.path) as results:
        assert results.query("select mood from result").item() == "new"


READ_ONLY = """
import os, sys
sys.path.insert(0, sys.argv[2])
import polars
import store_samples as samples
from prunebench.errors import StoreError
from prunebench.store import Store, check, finished, merging, open_results

store = Store(sys.argv[1])
with open_results(store.path) as results:  # imports what another user could not read
    results.query("select 1")
for path, mode in ((store.path, 0o444), (store.folder, 0o555), (store.path.parent, 0o555)):
    path.chmod(mode)
if os.geteuid() == 0:  # root may write everywhere: go on as nobody
    os.setuid(65534)
with open_results(store.path) as results:
    print(results.query("select count(*) from trials").item(), len(store.finished([samples.trial().id])))
for change in (lambda: store.open_run(samples.run("new")), store.merge, store.rebuild):
    try:
        change()
    except StoreError as error:
        print(error)
"""


def test_a_read_only_folder_can_be_queried_and_refuses_changes_in_one_line(fill, store: Store) -> None:
    fill(samples.result(samples.trial()))
    with tempfile.TemporaryDirectory() as name:  # not pytest's: that one is closed to other users
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(store.path.parent, folder / "runs")
        command = [sys.executable, "-c", READ_ONLY, folder / "runs" / store.path.name, Path(samples.__file__).parent]
        done = subprocess.run(command, capture_output=True, text=True)
        for path in (folder / "runs", folder / "runs" / store.folder.name):
            path.chmod(0o755)
    assert done.stderr == ""
    first, *refusals = done.stdout.splitlines()
    assert first == "1 1"
    assert len(refusals) == 3
    assert all("permission denied" in line for line in refusals)


def test_a_file_of_a_later_duckdb_is_called_that_and_not_damaged(fill, store: Store) -> None:
    fill(samples.result(samples.trial()))
    said = (
        "IO Error: Trying to read a database file with version number 99, but we can only read versions between 64 "
        "and 69.\nThe database file was created with a newer version of DuckDB."
    )
    assert isinstance(db._cause(store.path, said), NewerDatabase)


def test_rebuilding_from_the_journals_gives_the_same_results(fill, store: Store) -> None:
    for seed in range(3):
        fill(samples.result(samples.trial(None, seed)), samples.result(samples.trial(4, seed)))
    sql = "select * exclude (started_at) from trials order by trial_id"
    with open_results(store.path) as results:
        before = results.query(sql)
        report = store.rebuild()
        assert report.result_count == 6
        assert results.query(sql).equals(before)


def test_a_rebuild_without_a_journal_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no journal to rebuild from"):
        store.rebuild()


def test_a_lost_row_is_found_by_a_check(fill, store: Store) -> None:
    fill(*(samples.result(samples.trial(seed=seed)) for seed in range(3)))
    store.path.chmod(0o644)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("delete from result where seed = 1")
    assert any("1 results of its journal are not in the database" in fault for fault in store.check())
    assert any("belong to no result" in fault for fault in store.check())


@pytest.mark.parametrize(
    "name", ["it's", 'a"b', "new\nline", "\x1b[31mred", "nul\0", "x" * 10_000, "</script>", "日本"]
)
def test_names_of_any_kind_come_back_as_they_were(fill, results: Results, name: str) -> None:
    method = Choice(name, {name: 1, "rank": 2})
    fill(samples.result(samples.trial(method=method), reason=name), run=samples.run("r", name=name, grid=name))
    row = results.query("select method, params, run_name, reason, rank from trials").row(0)
    import json

    assert (row[0], json.loads(row[1]), row[2], row[3], row[4]) == (name, {name: 1, "rank": 2}, name, name, 2)


def test_the_planned_trials_of_a_run_narrow_what_is_seen(fill, store: Store) -> None:
    fill(*(samples.result(samples.trial(rank)) for rank in (None, 2, 4)))
    asked = tuple(samples.trial(rank).id for rank in (None, 4, 8))
    fill(samples.result(samples.trial(8)), run=samples.run("second", trial_ids=asked))
    with open_results(store.path, run="second") as results:
        assert sorted(results.query("select rank from trials")["rank"].to_list(), key=str) == [4, 8, None]
    with pytest.raises(StoreError, match="no run 'third' here"):
        open_results(store.path, run="third")


def test_nothing_stored_yet_is_said_in_one_line(store: Store) -> None:
    with pytest.raises(StoreError, match="no results yet"):
        open_results(store.path)
