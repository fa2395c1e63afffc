from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from executor_toys import ONCE, RUNNER, results, toy, work_settings
from prunebench.engine.activity import Tally
from prunebench.engine.executors import Note, Slot, Waiting
from prunebench.engine.executors.local import LocalExecutor
from prunebench.engine.worker.leases import Lease


def test_a_free_place_is_taken_without_waiting(tmp_path: Path) -> None:
    paths = (str(tmp_path / "a.lock"), str(tmp_path / "b.lock"))
    first, second, third = (Lease(paths, name) for name in ("first", "second", "third"))
    assert first.take_at_once() and second.take_at_once() and first.take_at_once()
    assert not third.take_at_once()
    assert third.awaited() == "a is in use by another run (first)"
    first.release()
    assert third.take_at_once()
    assert Lease(()).take_at_once()
    second.release()
    third.release()


def test_who_waits_comes_before_who_has_just_had_it(tmp_path: Path) -> None:
    """Two that take turns on one place alternate, though one of them asks again at once."""
    path, order, told = (str(tmp_path / "a.lock"),), [], []

    def work(name: str) -> None:
        lease = Lease(path, name)
        for _ in range(4):
            if not lease.take_at_once():
                told.append(lease.awaited())
                lease.wait()
            order.append(name)
            time.sleep(0.02)
            lease.release()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    changes = sum(left != right for left, right in itertools.pairwise(order))
    assert len(order) == 8
    assert changes >= 5, order
    assert told


def test_a_place_is_free_again_when_its_holder_dies(tmp_path: Path) -> None:
    path = (str(tmp_path / "a.lock"),)
    dies = f"import os; from prunebench.engine.worker.leases import Lease; os._exit(Lease({path!r}).take_at_once())"
    assert subprocess.run([sys.executable, "-c", dies], timeout=60, check=False).returncode == 1  # it had the place
    lease = Lease(path)
    assert lease.take_at_once()
    lease.release()


def test_two_runs_share_a_device_trial_by_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    slot = Slot("cuda:0", "cpu", visible="", leases=(str(tmp_path / "cuda-0.lock"),))
    notes: list[str] = []
    spans: list[tuple[float, float]] = []

    def run() -> None:
        executor = LocalExecutor([slot], work_settings(tmp_path, {"log_dir": None}), ONCE, RUNNER)
        events = list(executor.run([toy("sleeps", seconds=0.2 + index / 1000) for index in range(4)]))
        notes.extend(event.text for event in events if isinstance(event, Note))
        spans.extend((float(t.detail.split()[0]), float(t.detail.split()[1])) for t in results(events).values())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    spans.sort()
    assert len(spans) == 8
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    told = (
        f"cuda:0: cuda-0 is in use by another run (process {os.getpid()}, results in {tmp_path.parent}): waiting for it"
    )
    assert 1 <= notes.count(told) <= 2  # a run says it once a minute


def test_a_run_that_only_waits_says_for_whom_and_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    path = str(tmp_path / "slot-cpu-0.lock")
    other = Lease((path,), "process 17, results in elsewhere")
    assert other.take_at_once()
    executor = LocalExecutor(
        [Slot("cpu:0", "cpu", visible="", leases=(path,))], work_settings(tmp_path, {}), ONCE, RUNNER
    )
    tally, shown = Tally(2, 0), []
    for event in executor.run([toy("fine"), toy("fine", 1)]):
        tally.take(event)
        shown += [(device.trial, device.phase) for device in tally.snapshot().devices]
        if isinstance(event, Waiting):
            executor.stop()
    other.release()
    assert shown[-1] == ("", "cpu-0 is in use by another run (process 17, results in elsewhere)")
    assert tally.done == 0
