"""What becomes of a run whose process gets a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_toys import is_gone

HERE = Path(__file__).parent


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[object]:
    processes = []

    def start(method: str, slots: int = 2) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "a_run.py"), str(tmp_path), method, str(slots)]
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def until(process: subprocess.Popen[str], kind: str, count: int) -> list[list[str]]:
    """Lines up to the `count`-th of `kind`."""
    lines: list[list[str]] = []
    assert process.stdout is not None
    while sum(line[0] == kind for line in lines) < count:
        line = process.stdout.readline()
        assert line, f"ended before {count} {kind}: {lines}"
        lines.append(line.split())
    return lines


def named(lines: list[list[str]], kind: str) -> list[str]:
    return [line[1] for line in lines if line[0] == kind]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_request_finishes_what_runs(begin, number: int) -> None:  # type: ignore[no-untyped-def]
    run = begin("sleeps")
    lines = until(run, "started", 2)
    run.send_signal(number)
    lines += [line.split() for line in run.stdout]
    assert run.wait(timeout=20) == 0
    assert sorted(named(lines, "finished")) == sorted(named(lines, "started"))
    assert len(named(lines, "started")) == 2
    assert lines[-1] == ["end"]
    assert all(is_gone(int(pid)) for pid in named(lines, "worker"))


def test_two_requests_kill_at_once(begin) -> None:  # type: ignore[no-untyped-def]
    run = begin("hangs_in_c")
    lines = until(run, "started", 2)
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=20) == 0
    assert time.monotonic() - began < 3
    assert all(is_gone(int(pid)) for pid in named(lines, "worker"))


@pytest.mark.parametrize("method", ["hangs_in_c", "forks_and_waits"])
def test_a_killed_parent_takes_its_workers_and_their_children_along(  # type: ignore[no-untyped-def]
    begin, tmp_path: Path, method: str
) -> None:
    run = begin(method, slots=1)
    pids = [int(pid) for pid in named(until(run, "started", 1), "worker")]
    if method == "forks_and_waits":
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
            time.sleep(0.02)
        pids.append(int((tmp_path / "child").read_text()))
    run.kill()
    assert pids
    assert all(is_gone(pid, within_seconds=1.0) for pid in pids)
