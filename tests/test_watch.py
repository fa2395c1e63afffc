"""`bench watch` beside a real run: at work, after a kill, after its end; and a run that cannot tell of itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import prunebench
import pytest
from prunebench.cli import _status

from tests.test_bench import GRID, bench


def watched(folder: Path, capfd: pytest.CaptureFixture[str]) -> dict:
    capfd.readouterr()
    assert _status(["watch", "--once", "--json", "--db", str(folder / "runs" / "results.duckdb")]) == 0
    return json.loads(capfd.readouterr().out)


def wait_for_work(folder: Path, run: subprocess.Popen, capfd: pytest.CaptureFixture[str]) -> dict:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert run.poll() is None, "the run ended before it was seen at work"
        if list(folder.glob("runs/*/activity.json")):
            seen = watched(folder, capfd)
            if any(device["phase"] for device in seen["devices"]):
                return seen
        time.sleep(0.05)
    pytest.fail("no worker was ever seen at work")


def test_a_run_is_seen_at_work_told_of_when_killed_and_seen_to_its_end(tmp_path, capfd):
    (tmp_path / "small.toml").write_text(GRID.replace("epochs = 3", "epochs = 2000"))
    words = [sys.executable, "-m", "prunebench", "run", "--grid", "small.toml", "--devices", "cpu:1", "--no-report"]
    run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        seen = wait_for_work(tmp_path, run, capfd)
        assert seen["is_running"] is True and seen["planned"] == 4
        assert [device["slot"] for device in seen["devices"]] == ["cpu:0"]
        assert "simple_fcn · dense" in seen["devices"][0]["trial"]
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    assert watched(tmp_path, capfd)["is_running"] is False
    told = bench("watch", "--once", cwd=tmp_path)
    assert told.returncode == 1 and f"no longer running (process {run.pid} is gone)" in told.stdout
    followed = bench("watch", cwd=tmp_path)
    assert followed.returncode == 1 and "run the same command again to continue" in followed.stdout


def test_a_run_whose_activity_cannot_be_written_is_none_the_worse(tmp_path, monkeypatch, capfd):
    (tmp_path / "small.toml").write_text(GRID)
    (tmp_path / "file").touch()
    monkeypatch.setattr("prunebench.engine.session.activity_path", lambda *_: tmp_path / "file" / "activity.json")
    database = tmp_path / "runs" / "results.duckdb"
    outcome = prunebench.run(tmp_path / "small.toml", db=database, devices="cpu:1", report=False)
    assert outcome.statuses == {"ok": 3, "skipped": 1} and outcome.is_clean
    seen = watched(tmp_path, capfd)
    assert (seen["ended"], seen["done"], seen["endings"]) == ("complete", 4, {"ok": 3, "skipped": 1})


def test_a_run_that_ended_is_shown_as_its_terminal_left_it(tmp_path, capfd):
    (tmp_path / "small.toml").write_text(GRID)
    prunebench.run(tmp_path / "small.toml", db=tmp_path / "runs" / "results.duckdb", devices="cpu:1", report=False)
    seen = watched(tmp_path, capfd)
    assert (seen["ended"], seen["is_running"], seen["done"]) == ("complete", False, 4)
    assert "top-1" in seen["last"][0]["outcome"] and seen["seconds_left"] is None and seen["devices"] == []
