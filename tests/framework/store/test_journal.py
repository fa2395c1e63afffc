"""The journal: what is acknowledged is on the disk, and nothing that is broken is guessed at."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import store_samples as samples
from prunebench.errors import StoreError
from prunebench.store import Journal, Store
from prunebench.store.journal import line_of, read_tails, verified


def lines_of(store: Store) -> list[bytes]:
    return store.journals()[0].read_bytes().splitlines(keepends=True)


def test_a_run_is_the_first_line_and_each_result_one_more(store: Store, journal: Journal) -> None:
    for seed in range(3):
        journal.append(samples.result(samples.trial(seed=seed)))
    kinds = [verified(line)[0] for line in lines_of(store)]
    assert kinds == ["run", "result", "result", "result"]


def test_journals_of_two_databases_in_one_folder_are_apart(tmp_path: Path) -> None:
    a, b = Store(tmp_path / "a.duckdb"), Store(tmp_path / "b.duckdb")
    a.open_run(samples.run("same")).close()
    b.open_run(samples.run("same")).close()
    assert a.journals() != b.journals()
    assert len(a.journals()) == len(b.journals()) == 1


def test_a_run_id_is_used_once(store: Store) -> None:
    store.open_run(samples.run("one")).close()
    with pytest.raises(StoreError, match="has a journal already"):
        store.open_run(samples.run("one"))


@pytest.mark.parametrize("name", ["../x", "/abs", "a/b", "", ".", "-rf", "a\0b", "x" * 300, "‮bidi"])
def test_a_run_id_that_could_leave_the_folder_is_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="not allowed"):
        store.open_run(samples.run(name))


def test_a_torn_last_line_is_ignored_and_counted(store: Store, journal: Journal) -> None:
    journal.append(samples.result(samples.trial()))
    with store.journals()[0].open("ab") as file:
        file.write(line_of("result", {})[:20])
    report = store.merge()
    assert report.result_count == 1
    assert report.torn == ["run-1.jsonl"]
    assert "its last line has no end (20 bytes)" in "\n".join(store.check())


def test_a_torn_line_that_is_finished_later_is_loaded_then(store: Store, journal: Journal) -> None:
    line = line_of("result", {"half": 1})
    journal.append(samples.result(samples.trial(seed=1)))
    whole = lines_of(store)[1]
    path = store.journals()[0]
    with path.open("ab") as file:
        file.write(line[:10])
    store.merge()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10)
    with path.open("ab") as file:
        file.write(whole)
    assert store.merge().result_count == 0  # the same trial, run and attempt
    journal.append(samples.result(samples.trial(seed=2)))
    assert store.merge().result_count == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b'"seed":1', b'"seed":7'),
        lambda line: line[:100] + b"\n",
        lambda line: b"\0" * 50 + b"\n",
        lambda line: b'{"a": "foreign line"}\n',
        lambda line: b"\xff\xfe\n",
        lambda line: b"\n",
    ],
    ids=["a digit changed", "cut", "zeros", "foreign", "not UTF-8", "empty"],
)
def test_a_damaged_middle_line_is_named_and_the_rest_loaded(store: Store, journal: Journal, damage) -> None:
    for seed in range(3):
        journal.append(samples.result(samples.trial(seed=seed)))
    lines = lines_of(store)
    offset = len(lines[0]) + len(lines[1])
    lines[2] = damage(lines[2])
    store.journals()[0].write_bytes(b"".join(lines))
    report = store.merge()
    assert report.result_count == 2
    assert [(d.journal, d.line, d.offset) for d in report.damages] == [("run-1.jsonl", 3, offset)]
    assert any(f"run-1.jsonl:3 (byte {offset})" in fault for fault in store.check())


def test_a_line_of_a_newer_format_waits_for_a_newer_prunebench(store: Store, journal: Journal) -> None:
    journal.append(samples.result(samples.trial(seed=0)))
    path = store.journals()[0]
    newer = lines_of(store)[1].replace(b'{"prunebench":1', b'{"prunebench":2')
    path.write_bytes(b"".join([*lines_of(store), newer]))
    report = store.merge()
    assert report.result_count == 1
    assert "written by a newer prunebench" in report.notes[0]
    (tail,) = read_tails(path)
    assert tail.end == path.stat().st_size - len(newer)


def test_a_deleted_journal_stops_the_run_at_the_next_result(store: Store, journal: Journal) -> None:
    store.journals()[0].unlink()
    with pytest.raises(StoreError, match="deleted or moved"):
        journal.append(samples.result(samples.trial()))


def test_a_failed_sync_is_never_acknowledged_and_ends_the_journal(
    store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreError, match="input/output error; the result was not acknowledged"):
            journal.append(samples.result(samples.trial()))
    with pytest.raises(StoreError, match="no longer written to"):
        journal.append(samples.result(samples.trial(seed=1)))


FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import store_samples as samples
from prunebench.errors import StoreError
from prunebench.store import Store

store = Store(sys.argv[1])
journal = store.open_run(samples.run())
journal.append(samples.result(samples.trial(seed=0)))
size = store.journals()[0].stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
try:
    journal.append(samples.result(samples.trial(seed=1)))
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(samples.result(samples.trial(seed=2)))
"""


def test_a_write_that_stops_half_way_leaves_no_half_line(store: Store) -> None:
    folder = str(Path(samples.__file__).parent)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, store.path, folder], capture_output=True, text=True)
    assert "file too large; the result was not stored" in done.stdout, done.stderr
    report = store.merge()
    assert (report.result_count, report.damages, report.torn) == (2, [], [])


def test_a_full_disk_stops_the_run_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        acknowledged = fill_up(Store(disk / "results.duckdb"), disk)
        store = Store(disk / "results.duckdb")
        (disk / "ballast").unlink()
        assert len(store.finished(acknowledged)) == len(acknowledged) > 5
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        store.merge()
        assert store.check() == []
    finally:
        subprocess.run(["umount", disk], check=True)


def fill_up(store: Store, disk: Path) -> list[str]:
    """Append until the disk is full; ids of what was acknowledged."""
    (disk / "ballast").write_bytes(b"x" * 1_000_000)
    acknowledged = []
    with store.open_run(samples.run()) as journal, pytest.raises(StoreError, match="no space left on device"):
        for seed in range(1000):
            trial = samples.trial(seed=seed)
            journal.append(samples.result(trial))
            acknowledged.append(trial.id)
            if seed % 10 == 5:
                assert "the results are safe in" in store.merge().postponed  # there is no room for a database
    return acknowledged


def test_numbers_that_are_not_finite_become_null(store: Store, journal: Journal) -> None:
    measured = samples.measurement(loss=math.nan, top1_accuracy=math.inf)
    journal.append(samples.result(samples.trial(), measurement=measured))
    store.merge()
    from prunebench.store import open_results

    with open_results(store.path) as results:
        assert results.query("select loss, top1_accuracy from trials").rows() == [(None, None)]


def test_what_is_no_plain_data_is_refused_by_name(journal: Journal) -> None:
    bad = samples.result(samples.trial(), reason=object())
    with pytest.raises(StoreError, match="a result holds what cannot be stored"):
        journal.append(bad)
    bad = samples.result(samples.trial(), reason="\ud800")
    with pytest.raises(StoreError, match="a result holds what cannot be stored"):
        journal.append(bad)


def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        Store(tmp_path / "file" / "results.duckdb").open_run(samples.run())


def test_what_a_result_is_filed_under_is_not_kept_by_its_trial(journal: Journal) -> None:
    trial = samples.trial()
    _ = trial.id, trial.network_id, trial.protocol.id  # what a plan knows already
    known = [set(vars(part)) for part in (trial, trial.method, trial.model, trial.dataset)]
    journal.append(samples.result(trial))
    assert [set(vars(part)) for part in (trial, trial.method, trial.model, trial.dataset)] == known
