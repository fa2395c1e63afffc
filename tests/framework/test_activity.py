"""What a run tells of itself to those who look from outside."""

import errno
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from prunebench.cli import _status
from prunebench.cli.watch import shown
from prunebench.cli.watch_json import by_activity
from prunebench.engine.activity import Activity, ActivityFile, Process, Tally, activity_path, read_activity
from prunebench.engine.executors.events import Finished, Note, Progress, Started, WorkerLost, WorkerStarted
from prunebench.records import Choice, encode
from rich.console import Console

from tests.framework.report import synthetic
from tests.framework.report.conftest import store_results

RESULTS = list(synthetic.grid_results(["digits"], ["lenet5"], ["pca"], [1.5, 4], seeds=1))
HOSTILE = synthetic.trial("digits", "\x1b]0;owned\x07\ud800", Choice("[red]x\x1b[2J"), 0)
KEYS = {
    "run", "planned", "done", "done_before", "endings", "seconds", "seconds_left", "devices", "last", "failures",
    "notes", "is_running", "ended",
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return activity_path(tmp_path / "results.duckdb", "synthetic-1")


def kept(path, total=10, done_before=2):
    return ActivityFile(path, "synthetic-1", Tally(total, done_before))


def text_of(activity):
    console = Console(file=io.StringIO(), width=300)
    console.print(shown(by_activity(activity)))
    return console.file.getvalue()


def test_the_file_holds_what_every_worker_does(path):
    with kept(path) as activity:
        activity.take(WorkerStarted("cuda:1", "cuda:0", 7))
        activity.take(Started(RESULTS[0].trial, "cuda:1", 2))
        activity.take(Progress("cuda:1", RESULTS[0].trial.id, "fine-tune", 0.4))
        activity.take(Finished(RESULTS[2], "node-2/cuda:0"))
        time.sleep(0.3)
        read = read_activity(path)
    one, other = read.snapshot.devices
    assert (one.slot, one.device, one.phase, one.fraction) == ("cuda:1", "cuda:0", "fine-tune", 0.4)
    assert "seed 0 (attempt 2)" in one.trial and time.monotonic() - one.since < 10
    assert (other.slot, other.trial) == ("node-2/cuda:0", "")
    assert (read.snapshot.done, read.snapshot.done_before, read.snapshot.total) == (1, 2, 10)
    assert read.snapshot.seconds_left == pytest.approx(9 * RESULTS[2].seconds / 2)
    assert read.process.pid == os.getpid() and read.process.is_running() and read.ended == ""


def test_it_is_written_at_most_four_times_a_second_and_only_on_events(path, monkeypatch):
    written = []
    monkeypatch.setattr("prunebench.engine.activity.file.replace_bytes", lambda *_: written.append(time.monotonic()))
    with kept(path) as activity:
        start = time.monotonic()
        while time.monotonic() - start < 0.6:
            activity.take(Note("busy"))
            time.sleep(0.001)
        time.sleep(0.3)
        count = len(written)
        assert 3 <= count <= 4  # at the start, and every 0.25 s of 0.6, and once after
        time.sleep(0.6)
        assert len(written) == count
    assert len(written) == count + 1


def test_the_last_event_of_a_burst_is_written_too(path):
    with kept(path) as activity:
        for number in range(5):
            activity.take(Note(f"note {number}"))
        time.sleep(0.35)
        assert read_activity(path).snapshot.notes[-1] == "note 4"


def test_a_clean_end_is_told_from_one_before_the_end(path):
    with kept(path, total=1) as activity:
        activity.take(Finished(RESULTS[0], "cpu:0"))
    assert read_activity(path).ended == "complete"
    with kept(path, total=2) as activity:
        activity.take(Finished(RESULTS[0], "cpu:0"))
    assert read_activity(path).ended == "stopped"
    assert "run the same command again" in text_of(read_activity(path))


def test_no_error_of_writing_reaches_the_run(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with kept(tmp_path / "file" / "activity.json") as activity:  # a folder that cannot be made
        activity.take(Note("a"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with kept(tmp_path / "run" / "activity.json") as activity:
        activity.take(Note("a"))
    assert list((tmp_path / "run").iterdir()) == []


def test_names_are_shown_as_text_and_no_name_stops_the_writing(path):
    with kept(path) as activity:
        activity.take(Started(HOSTILE, "cpu:0", 1))
        activity.take(Finished(synthetic.ended(HOSTILE, "failed", "boom\x1b[31m\udcff"), "cpu:1"))
        activity.take(WorkerLost("cpu:2", "\x9b[0m[bold]"))
        time.sleep(0.3)
        text = text_of(read_activity(path))
    assert not set(text) & {"\x1b", "\x07", "\x9b"}
    assert "\\x1b]0;owned" in text and "[red]x" in text and "[bold]" in text


def test_a_file_that_somebody_else_filled_is_shown_as_text_too(path):
    with kept(path) as activity:
        activity.take(Note("\x1b"))
    read = read_activity(path)
    evil = replace(read, run="\x1b[2J", snapshot=replace(read.snapshot, notes=("\x1b[5m",), endings={"\x1b[1m": 3}))
    assert "\x1b" not in text_of(evil)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": 1}', b"\xff\xfe"])
def test_a_file_that_is_none_counts_as_absent(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert read_activity(path) is None


def test_a_process_is_known_by_its_start_and_host_too():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    own = Process.own()
    try:
        assert own.is_running()
        assert replace(own, started_at=own.started_at - 60).is_running() is False  # the number was given again
        assert replace(own, host="elsewhere").is_running() is None
        child.kill()
        time.sleep(0.2)
        assert Process(own.host, child.pid, time.time()).is_running() is False  # not yet waited for
    finally:
        child.kill()
        child.wait()
    assert Process(own.host, child.pid, time.time()).is_running() is False


def watch_json(database, capfd, *words):
    capfd.readouterr()
    assert _status(["watch", "--once", "--json", "--db", str(database), *words]) == 0
    return json.loads(capfd.readouterr().out)


def test_json_has_every_documented_key_whether_or_not_there_is_a_file(tmp_path, path, capfd):
    database = store_results(tmp_path, RESULTS[:2], missing=1)
    stored = watch_json(database, capfd)
    assert set(stored) == KEYS and (stored["planned"], stored["done"], stored["is_running"]) == (3, 2, None)
    with kept(path, total=3, done_before=1) as activity:
        activity.take(Started(RESULTS[0].trial, "cpu:0", 1))
        time.sleep(0.3)
        told = watch_json(database, capfd)
    assert set(told) == KEYS and told["is_running"] is True and told["ended"] is None
    assert (told["planned"], told["done"], told["done_before"]) == (4, 1, 1)
    assert told["devices"][0]["slot"] == "cpu:0" and told["devices"][0]["seconds"] > 0
    text = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in text] == []


def test_of_two_runs_the_latest_is_shown_and_the_other_on_request(tmp_path, capfd):
    database = store_results(tmp_path, RESULTS[:1], "one", missing=1)
    store_results(tmp_path, RESULTS[:1], "two", missing=1, started_at="2026-01-05T11:00:00+00:00")
    with (
        ActivityFile(activity_path(database, "one-1"), "one-1", Tally(7, 0)),
        ActivityFile(activity_path(database, "two-1"), "two-1", Tally(8, 0)),
    ):
        assert watch_json(database, capfd)["planned"] == 8
        assert watch_json(database, capfd, "one")["planned"] == 7


def test_a_dead_run_whose_every_trial_is_stored_is_complete(tmp_path, path, capfd):
    database = store_results(tmp_path, RESULTS[:2])
    with kept(path, total=2) as activity:
        activity.take(Finished(RESULTS[0], "cpu:0"))
    dead = replace(Process.own(), started_at=1.0)
    path.write_bytes(encode(replace(read_activity(path), process=dead, ended="")))
    assert watch_json(database, capfd)["ended"] == "complete"


def test_without_a_terminal_every_finished_trial_is_a_line(tmp_path, path, capfd, monkeypatch):
    database = store_results(tmp_path, RESULTS[:1], missing=9)
    activity = kept(path, total=10, done_before=0).__enter__()
    steps = iter([RESULTS[:1], [], RESULTS[:3] * 3])

    def sleep(_):
        for result in next(steps):
            activity.take(Finished(result, "cpu:0"))
        activity._write()
        if activity._tally.done == 10:
            activity.__exit__(None, None, None)

    monkeypatch.setattr("prunebench.cli.watch.time.sleep", sleep)
    assert _status(["watch", "--db", str(database)]) == 0
    lines = [line.strip() for line in capfd.readouterr().out.splitlines()]
    assert "0/10 trials" in lines[0] and lines[1].startswith("[1/10] ok") and lines[2] == "… 4 more"
    assert [line.split("]")[0] for line in lines[3:8]] == [f"[{number}/10" for number in range(6, 11)]
    assert "10/10 trials" in lines[8] and len(lines) == 9


def test_no_color_is_honoured(monkeypatch, path):
    monkeypatch.setenv("NO_COLOR", "1")
    with kept(path) as activity:
        activity.take(Finished(RESULTS[0], "cpu:0"))
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    console.print(shown(by_activity(read_activity(path))))
    assert "\x1b[3" not in console.file.getvalue()


def test_an_activity_is_plain_json(path):
    with kept(path):
        pass
    assert set(json.loads(path.read_bytes())) == set(Activity.__dataclass_fields__)
