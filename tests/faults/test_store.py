"""Faults 52 to 65: the journal and the database."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import store_samples as samples
from numbered import Bench, fault
from prunebench.engine.session import prepare, run
from prunebench.errors import NewerDatabase, StoreError
from prunebench.records import Result
from prunebench.store import Journal, MergeReport, Store, open_results
from soak_run import trials

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results.duckdb")


Fill = Callable[..., MergeReport]


@pytest.fixture
def fill(store: Store) -> Fill:
    """`fill(0, 1)`: trials of these seeds as one more run, merged."""

    def make(*seeds: int) -> MergeReport:
        with store.open_run(samples.run(f"run-{len(store.journals())}")) as journal:
            append(journal, *seeds)
        return store.merge()

    return make


def append(journal: Journal, *seeds: int) -> list[Result]:
    made = [samples.result(samples.trial(seed=seed)) for seed in seeds]
    for result in made:
        journal.append(result)
    return made


def count(store: Store) -> int:
    with open_results(store.path) as results:
        return int(results.query("select count(*) from trials").item())


@fault(52, "kill -9 at a random moment, merges under way", "every acknowledged trial is there, once")
def test_whenever_a_run_is_killed_what_it_acknowledged_is_there(tmp_path: Path) -> None:
    database, dice = tmp_path / "runs" / "results.duckdb", random.Random(52)
    script, acknowledged = str(ROOT / "tests" / "faults" / "an_appender.py"), 0
    for kill in range(4):
        done = Store(database)
        command = [sys.executable, script, str(database), str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(dice.randrange(1, 30)):
                acknowledged += bool(writer.stdout.readline())
            time.sleep(dice.random() / 20)
            writer.send_signal(signal.SIGKILL)
            acknowledged += len(writer.stdout.read().split("\n")) - 1
    assert acknowledged > 10
    merged = count(done)
    assert acknowledged <= merged <= acknowledged + 4, "at most one a kill was written and not yet told"
    done.merge(wait_seconds=5)
    assert (count(done) == merged and done.check() == []) or all("no end" in line for line in done.check())


@fault(53, "a journal whose last line is torn", "the line is ignored and counted")
def test_a_torn_last_line_is_ignored_and_counted(store: Store, fill: Fill) -> None:
    fill(0, 1)
    path = store.journals()[0]
    os.truncate(path, path.stat().st_size - 7)
    store.path.unlink()
    report = Store(store.path).merge()
    assert (report.result_count, report.torn) == (1, ["run-0.jsonl"])
    assert any("its last line has no end" in line for line in store.check())


@fault(54, "a damaged line in the middle of a journal", "file, line and byte are named; all others are loaded")
def test_a_damaged_middle_line_is_named_and_the_rest_is_loaded(store: Store) -> None:
    with store.open_run(samples.run()) as journal:
        append(journal, 0, 1, 2)
    path = store.journals()[0]
    lines = path.read_bytes().splitlines(keepends=True)
    offset = len(lines[0]) + len(lines[1])
    lines[2] = lines[2].replace(b'"seed":1', b'"seed":7')
    path.write_bytes(b"".join(lines))
    report = store.merge()
    assert report.result_count == 2
    assert str(report.damages[0]) == f"run-1.jsonl:3 (byte {offset}): damaged: its checksum does not match"


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"3", b'{"keys":{},"result":{}}', b'{"keys":"\\ud800"}', b"\xff"])
@fault(54, "a line whose checksum is right and that is no result", "named and left out; all others are loaded")
def test_a_line_that_is_no_result_stops_no_merge(store: Store, body: bytes) -> None:
    with store.open_run(samples.run()) as journal:
        append(journal, 0)
        crc = zlib.crc32(body, zlib.crc32(b"result"))
        with journal.path.open("ab") as file:
            file.write(b'{"prunebench":1,"crc":"%08x","kind":"result","record":%s}\n' % (crc, body))
        append(journal, 1)
    assert set(store.finished([samples.trial(seed=seed).id for seed in (0, 1)]).values()) == {"ok"}
    report = store.merge()
    assert report.result_count == 2
    assert "no result that can be filed" in str(report.damages[0])


@fault(55, "a database that cannot be read", "it is moved aside and built anew from the journals; a note says so")
def test_an_unreadable_database_is_rebuilt(store: Store, fill: Fill) -> None:
    fill(0, 1)
    store.path.chmod(0o644)
    store.path.write_bytes(store.path.read_bytes()[:5000])
    report = fill(2)
    assert "could not be read, moved to results.duckdb.corrupt-" in report.notes[0]
    assert count(store) == 3


@fault(56, "a foreign write-ahead log beside the database", "it is moved aside, not replayed")
def test_a_foreign_log_is_not_replayed(store: Store, fill: Fill) -> None:
    fill(0)
    store.path.with_name("results.duckdb.wal").write_bytes(b"foreign")
    assert "not ours, moved to results.duckdb.wal.foreign-" in fill(1).notes[0]
    assert count(store) == 2


@fault(57, "a full disk", "the run stops with one line; what was acknowledged is safe")
def test_a_full_disk_ends_the_run_with_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = store.open_run(samples.run())
    append(journal, 0)
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 100:
            return write(fd, bytes(data[:100]))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: full(fd, bytes(data)[:200] if len(data) > 200 else data[:50]))
        with pytest.raises(StoreError, match=r"no space left on device; the result was not stored"):
            append(journal, 1)
    append(journal, 2)  # there is room again
    report = store.merge()
    assert (report.result_count, report.damages, report.torn) == (2, [], [])


@fault(57, "a disk that is full when a merge publishes", "the merge is postponed, the next one catches up")
def test_a_disk_full_in_a_merge_loses_nothing(store: Store, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    from prunebench.store import publish

    fill(0)

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_copy", full)
        report = fill(1)
        assert not report.merged and "no space left; the results are safe" in report.postponed
    assert count(store) == 2
    assert fill(2).result_count == 2


@fault(58, "a notebook that keeps the database open for hours", "runs and merges go on; it keeps its snapshot")
def test_a_notebook_stops_nobody(store: Store, fill: Fill) -> None:
    fill(0)
    with duckdb.connect(str(store.path), read_only=True) as notebook:
        assert fill(1).merged and fill(2).merged
        assert notebook.execute("select count(*) from trials").fetchone() == (1,)
    assert count(store) == 3


HOLD = """
import duckdb, os, sys
os.chmod(sys.argv[1], 0o644)
connection = duckdb.connect(sys.argv[1])
connection.execute("create table mine (a int)")
print("held", flush=True)
sys.stdin.read()
"""


@fault(59, "somebody who holds the database for writing", "the merge waits, the process is named")
def test_a_writer_postpones_the_merge_and_is_named(store: Store, fill: Fill) -> None:
    fill(0)
    command = [sys.executable, "-c", HOLD, str(store.path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        report = fill(1)
        assert (report.merged, report.held_by) == (False, holder.pid)
        assert f"process {holder.pid}" in report.postponed
    finally:
        holder.kill()
        holder.communicate()
    assert store.merge().result_count == 1


@fault(60, "two runs on one database at once", "both complete, nothing is lost or doubled")
def test_two_runs_at_once_lose_nothing(tmp_path: Path) -> None:
    database = tmp_path / "runs" / "results.duckdb"
    script = str(ROOT / "benchmarks" / "soak_run.py")
    spans = (("0", "20"), ("10", "20"))
    runs = [subprocess.Popen([sys.executable, script, str(database), *span, "0.02"]) for span in spans]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    store = Store(database)
    store.merge(wait_seconds=5)
    assert store.check() == []
    assert set(store.finished([t.id for t in trials(0, 30, 0.02)])) == {t.id for t in trials(0, 30, 0.02)}


@fault(61, "one trial stored twice", "one row; every attempt is kept apart")
def test_a_trial_that_came_twice_is_one_row(store: Store, fill: Fill) -> None:
    fill(0)
    fill(0, 0)
    with open_results(store.path) as results:
        assert results.query("select count(*) from trials").item() == 1
        assert results.query("select count(*) from attempts").item() == 2  # one per run
    assert store.check() == []


@fault(62, "a database of a newer prunebench, or of another DuckDB", "a line that says which version; it is untouched")
def test_a_newer_database_says_so(store: Store, fill: Fill) -> None:
    fill(0)
    store.path.chmod(0o644)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("update meta set value = '999' where key = 'schema'")
    before = store.path.read_bytes()
    with pytest.raises(NewerDatabase, match=r"newer prunebench \(schema 999, this one knows \d+\); upgrade prunebench"):
        fill(1)
    assert store.path.read_bytes() == before
    later = bytearray(before)
    struct.pack_into("<Q", later, 12, 250)  # DuckDB's storage version, under the header's checksum
    struct.pack_into("<Q", later, 0, header_checksum(later[8:4096]))
    store.path.write_bytes(later)
    with pytest.raises(NewerDatabase, match=r"another version of DuckDB; .*storage version number 250"):
        open_results(store.path)
    assert store.path.read_bytes() == later


def header_checksum(data: bytes) -> int:
    """As DuckDB's header carries it."""
    result = 5381
    for (word,) in struct.iter_unpack("<Q", data):
        result ^= word * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    return result


@fault(63, "a journal that is deleted during a run", "the run stops at the next result and says so")
def test_a_deleted_journal_stops_the_run(store: Store) -> None:
    journal = store.open_run(samples.run())
    store.journals()[0].unlink()
    with pytest.raises(StoreError, match="the journal was deleted or moved while the run was writing to it"):
        append(journal, 0)


@pytest.mark.parametrize("number", [5, 122, 28])
@fault(64, "an error of the disk (EIO, quota, no space) when a result is made durable", "never acknowledged")
def test_what_could_not_be_synced_is_never_acknowledged(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    journal = store.open_run(samples.run())

    def fail(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreError, match="the result was not acknowledged"):
            append(journal, 0)
    with pytest.raises(StoreError, match="no longer written to"):
        append(journal, 1)


@fault(65, "a million trials", "a query reads the columns it names; benchmarks/store_million.py has the times")
def test_a_query_does_not_grow_with_what_it_does_not_read(store: Store, fill: Fill) -> None:
    """The million themselves take minutes to make; here: a query reads columns, never the raw samples of latencies."""
    fill(*range(3))
    with open_results(store.path) as results:
        plan = results.query("explain select method, avg(top1_accuracy) from trials group by method").item(0, 1)
    assert "pruned_ms" not in plan and "dense_ms" not in plan


def test_the_lock_of_merges_is_the_kernels_and_dies_with_its_holder(store: Store, fill: Fill) -> None:
    fill(0)
    with (store.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert fill(1).merged is False
    assert store.merge().merged


@fault(55, "a database that was given away as one file, continued and then damaged", "nothing is lost: a copy was kept")
def test_what_only_the_database_held_survives_its_damage(fill: Fill, store: Store, tmp_path: Path) -> None:
    fill(0, 1, 2, 3, 4)
    given = Store(tmp_path / "elsewhere" / "results.duckdb")
    given.path.parent.mkdir()
    given.path.write_bytes(store.path.read_bytes())
    with given.open_run(samples.run("one-more")) as journal:
        append(journal, 9)
    assert [
        note for note in given.merge().notes if "holds results of no journal here; a copy is kept as import-" in note
    ]
    given.path.chmod(0o644)
    with given.path.open("r+b") as file:
        file.truncate(file.seek(0, 2) // 2)
    assert count(given) == 6
    assert given.check() == []


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "a block in its midst"])
@fault(
    55,
    "its copy damaged, too",
    "the rest is there; what is lost is said, exit code 1; `bench db check` goes on saying it",
)
def test_a_damaged_copy_keeps_no_journal_waiting(
    is_cut: bool, fill: Fill, store: Store, tmp_path: Path, bench: Bench
) -> None:
    fill(0, 1, 2, 3, 4)
    given = Store(tmp_path / "elsewhere" / "results.duckdb")
    given.path.parent.mkdir()
    given.path.write_bytes(store.path.read_bytes())
    with given.open_run(samples.run("one-more")) as journal:
        append(journal, 9)
    given.merge()
    (kept,) = given.folder.glob("import-*.duckdb")
    given.path.unlink()
    with kept.open("r+b") as file:
        size = file.seek(0, 2)
        if is_cut:
            file.truncate(size // 2)
        else:
            file.seek(12288 + 262144 + 8)  # behind the headers: the second block
            file.write(os.urandom(size - file.tell()))
    said = bench("merge", "--db", str(given.path))
    assert said.code == 1 and "could not be read, moved to import-" in said.err
    lost = 6 - count(given)
    assert f"{5 - lost} of its results could be read, {lost} are lost" in said.err
    assert lost and given.merge().lost == []
    (fault_line,) = given.check()
    assert f"{kept.name}.unread-" in fault_line and bench("db", "check", "--db", str(given.path)).code == 1


@fault(55, "a database from elsewhere, damaged before a run here ended", "set aside unread: said, exit code 1")
def test_a_damaged_database_from_elsewhere_is_said_to_be_lost(fill: Fill, store: Store, tmp_path: Path) -> None:
    fill(0, 1)
    given = Store(tmp_path / "elsewhere" / "results.duckdb")
    with given.open_run(samples.run("one-more")) as journal:
        append(journal, 9)
    given.path.write_bytes(store.path.read_bytes()[:9000])
    report = given.merge()
    assert len(report.lost) == 1 and "how many are lost nobody can count" in report.lost[0]
    assert count(given) == 1 and len(given.check()) == 1


@fault(55, "a database that was moved with its journals", "no copy is made: they hold it all")
def test_a_folder_that_was_copied_whole_keeps_no_second_copy(fill: Fill, store: Store, tmp_path: Path) -> None:
    fill(0, 1)
    other = Store(tmp_path / "elsewhere" / "results.duckdb")
    shutil.copytree(store.folder, other.folder)
    other.path.write_bytes(store.path.read_bytes())
    with other.open_run(samples.run("one-more")) as journal:
        append(journal, 9)
    assert other.merge().notes == []
    assert list(other.folder.glob("import-*")) == [] and count(other) == 3


@fault(57, "a run that could not publish, started again", "the same command publishes, though nothing is left to run")
def test_a_run_with_nothing_left_publishes_what_was_postponed(store: Store, tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text('[[block]]\ndataset = "digits"\nmodel = "lenet5"\nseed = 0\nmethod = "dense"\n')
    with store.open_run(samples.run()) as journal:
        for trial in prepare(grid, db=store.path).todo:
            journal.append(samples.result(trial))
    assert not store.path.exists()
    outcome = run(grid, db=store.path, report=False)
    assert outcome.run_id == "" and store.path.exists() and count(store) == 1
    assert store.check() == []


@fault(61, "a journal that was copied under another name", "each result once, and `bench db check` finds nothing wrong")
def test_a_copied_journal_is_no_fault(fill: Fill, store: Store) -> None:
    fill(0, 1)
    (journal,) = store.journals()
    shutil.copy(journal, journal.with_name("copy.jsonl"))
    assert store.check() == [] and count(store) == 2
    store.merge()
    assert store.check() == [] and count(store) == 2
