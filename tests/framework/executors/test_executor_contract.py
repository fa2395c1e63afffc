"""What every executor promises whatever plugin code does: one `Finished` a trial, and nobody else harmed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from executor_toys import ONCE, Make, cpu, is_gone, results, toy, work_settings
from prunebench.engine.executors import Finished, Note, Progress, RetryPolicy, Started, WorkerLost, WorkerStarted
from prunebench.engine.executors.devices import resolve
from prunebench.engine.executors.local import LocalExecutor
from prunebench.engine.executors.process import KEEP_BLOCKS, environment
from prunebench.errors import DeviceError

INNOCENT = [toy("fine", network) for network in range(1, 4)]


def test_every_trial_finishes_once_and_tells_its_story(executor: Make) -> None:
    trials = [toy("sleeps", network, seconds=0.01) for network in range(4)]
    events = list(executor(slots=2).run(trials))
    kinds = [type(event) for event in events]
    assert kinds.count(Finished) == kinds.count(Started) == kinds.count(Progress) == 4
    assert kinds[0] is WorkerStarted
    assert all(result.status == "ok" for result in results(events).values())


def test_no_trials_end_at_once(executor: Make) -> None:
    assert results(executor().run([])) == {}


def test_a_lazy_plan_is_run_while_it_is_made(executor: Make) -> None:
    assert len(results(executor(slots=2).run(toy("fine", network) for network in range(600)))) == 600


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("declines", "skipped", "not applicable"),
        ("fails", "failed", "ValueError: no"),
        ("system_exit", "failed", "SystemExit: 4"),
        ("interrupts", "failed", "KeyboardInterrupt"),
        ("exits", "killed", "the worker exited with code 3"),
        ("segfaults", "killed", "killed (signal 11, SIGSEGV)"),
        ("killed", "killed", "killed (signal 9), maybe out of memory"),
        ("aborts_for_memory", "oom", "killed (signal 6, SIGABRT)"),
        ("returns_nothing", "failed", "invalid result: expected a Result, got NoneType"),
        ("returns_lambda", "failed", "invalid result: detail: Encoding objects of type function is unsupported"),
        (
            "returns_wrong_type",
            "failed",
            "invalid result: measurement.top1_accuracy: Expected `float | null`, got `str`",
        ),
        ("returns_nan", "failed", "invalid result: measurement.loss: Expected `float`, got `null`"),
        ("returns_much", "failed", "invalid result: 200 MB is over the limit of 64 MB"),
    ],
)
def test_a_fault_has_its_status_and_harms_nobody(executor: Make, method: str, status: str, reason: str) -> None:
    found = results(executor(slots=2).run([INNOCENT[0], toy(method), *INNOCENT[1:], toy("declines", 9)]))
    assert (found[method].status, found[method].reason) == (status, reason)
    assert [found[f"fine@{network}"].status for network in (1, 2, 3)] == ["ok"] * 3
    assert found[method].attempt == 1


def test_a_lone_surrogate_is_named(executor: Make) -> None:
    found = results(executor().run([toy("returns_surrogate")]))
    assert found["returns_surrogate"].reason.startswith("invalid result: measurement.correct: 'utf-8'")


def test_a_result_of_many_megabytes_arrives_whole(executor: Make) -> None:
    found = results(executor().run([toy("returns_some_megabytes")]))
    assert found["returns_some_megabytes"].detail == "x" * (20 * 2**20)


def test_a_hang_in_c_code_that_holds_the_interpreter_ends_at_the_deadline(executor: Make) -> None:
    start = time.monotonic()
    found = results(executor(timeout_seconds=0.5).run([toy("hangs_in_c"), toy("fine")]))
    assert found["hangs_in_c"].status == "timeout"
    assert found["hangs_in_c"].reason == "killed after 0.5 s, the time limit per trial"
    assert "in hangs_in_c" in found["hangs_in_c"].detail, "the log's tail says where it hung"
    assert 0.5 <= found["hangs_in_c"].seconds < 2
    assert found["fine"].status == "ok"
    assert time.monotonic() - start < 30


def test_allocation_without_end_meets_the_limit(executor: Make) -> None:
    found = results(executor(memory_limit_bytes=2**28).run([toy("allocates"), toy("fine")]))
    assert (found["allocates"].status, found["allocates"].reason) == ("oom", "MemoryError")
    assert found["fine"].status == "ok"


def test_a_killed_trial_is_tried_again_and_its_attempts_are_counted(executor: Make) -> None:
    events = list(executor(retries=RetryPolicy(killed=1)).run([toy("killed_once"), toy("killed", 1)]))
    found = results(events)
    assert (found["killed_once"].status, found["killed_once"].attempt) == ("ok", 2)
    assert (found["killed@1"].status, found["killed@1"].attempt) == ("killed", 2)
    assert sum(isinstance(event, WorkerLost) for event in events) == 3
    assert sum("it is tried again" in event.text for event in events if isinstance(event, Note)) == 2


def test_out_of_memory_means_half_the_batch_in_a_fresh_worker(executor: Make) -> None:
    events = list(executor(retries=RetryPolicy(oom=1)).run([toy("oom_unless_halved")]))
    result = results(events)["oom_unless_halved"]
    assert (result.status, result.attempt) == ("ok", 2)
    assert len({event.pid for event in events if isinstance(event, WorkerStarted)}) == 2


def test_a_runner_that_knows_nothing_of_batches_is_simply_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    executor = LocalExecutor(cpu(1), work_settings(tmp_path, {}), RetryPolicy(), "toy_runner:PlainWorkbench")
    result = results(executor.run([toy("fine")]))["fine"]
    assert (result.status, result.attempt) == ("ok", 2)


def test_failed_and_timed_out_trials_are_not_tried_again(executor: Make) -> None:
    again = RetryPolicy(killed=5, oom=5)
    found = results(executor(retries=again, timeout_seconds=0.3).run([toy("fails"), toy("sleeps", seconds=60)]))
    assert [result.attempt for result in found.values()] == [1, 1]


def test_a_hundred_megabytes_of_prints_block_nothing_and_fill_nothing(executor: Make, tmp_path: Path) -> None:
    found = results(executor().run([toy("prints"), toy("fine")]))
    assert [result.status for result in found.values()] == ["ok", "ok"]
    logs = list((tmp_path / "logs").glob("*.log*"))
    assert logs
    assert sum(log.stat().st_size for log in logs) < 3 * 2**20


@pytest.mark.usefixtures("small_disk")
def test_a_method_that_fills_the_disk_fails_and_the_logs_on_it_harm_nobody(executor: Make, tmp_path: Path) -> None:
    runs = executor(log_dir=str(tmp_path / "disk" / "logs"))
    found = results(runs.run([toy("fills_the_disk"), toy("prints", 1), *INNOCENT]))
    filler = found.pop("fills_the_disk")
    assert (filler.status, filler.reason) == ("failed", "OSError: [Errno 28] No space left on device")
    assert {result.status for result in found.values()} == {"ok"}
    with pytest.raises(OSError, match="No space left"):
        (tmp_path / "disk" / "more").write_bytes(bytes(2**16))


@pytest.mark.parametrize("method", ["forks", "forks_and_dies"])
def test_a_child_that_outlives_its_method_does_not_outlive_the_worker(
    executor: Make, tmp_path: Path, method: str
) -> None:
    assert len(results(executor().run([toy(method), toy("fine")]))) == 2
    child = int((tmp_path / "child").read_text())
    assert is_gone(child)


def test_a_method_that_forks_and_returns_twice_counts_once(executor: Make) -> None:
    found = results(executor().run([toy("forks_back_into_the_worker"), toy("fine")]))
    assert found["forks_back_into_the_worker"].reason == "parent"
    assert found["fine"].status == "ok"


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("dies", "the worker exited with code 7"),
        ("refuses", "the data are not there: fetch them"),
        ("breaks", "ImportError: No module named 'broken_plugin'"),
    ],
)
def test_workers_that_never_start_end_the_run_with_the_reason(
    executor: Make, tmp_path: Path, folder: str, reason: str
) -> None:
    events = executor(data_dir=str(tmp_path / folder)).run(INNOCENT)
    lost = []
    with pytest.raises(DeviceError, match=f"no worker could start after 3 tries per slot: {reason}"):
        lost += [event for event in events if isinstance(event, WorkerLost)] or lost
    assert lost == []


def test_workers_are_pinned_and_keep_freed_blocks_before_they_wake(
    executor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    detail = results(executor().run([toy("environment")]))["environment"].detail
    assert detail == f"CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 PRUNEBENCH_SLOT=cpu:0 GLIBC_TUNABLES={KEEP_BLOCKS}"


def test_an_allocator_setting_of_ones_own_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    slot = resolve("cpu:1")[0]
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")
    assert environment(slot)["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=2"
    monkeypatch.delenv("GLIBC_TUNABLES")
    assert environment(slot)["GLIBC_TUNABLES"] == KEEP_BLOCKS


def test_trials_of_one_network_stay_in_one_worker(executor: Make, tmp_path: Path) -> None:
    spans = (3, 0.021, 0.022, 0.023)  # the first is long, so that both workers are up before it ends
    trials = [toy("sleeps", network, seconds=span) for network in range(2) for span in spans]
    assert len(results(executor(slots=2).run(trials))) == 8
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    first = {network: slot for _, network, _, slot in reversed(ran)}
    assert set(first.values()) == {"cpu:0", "cpu:1"}
    assert sum(slot == first[network] for _, network, _, slot in ran) >= 6


def test_drained_it_finishes_what_runs_and_begins_nothing(executor: Make) -> None:
    runs = executor(slots=2)
    events = []
    for event in runs.run([toy("sleeps", network, seconds=0.3) for network in range(6)]):
        events.append(event)
        if isinstance(event, Started):
            runs.stop()
    started = {event.trial.id for event in events if isinstance(event, Started)}
    assert {result.trial.id for result in results(events).values()} == started
    assert 1 <= len(started) <= 2


def test_stopped_at_once_it_leaves_the_running_trials_without_a_result(executor: Make) -> None:
    runs, start, pids, found = executor(slots=1), 0.0, [], []
    for event in runs.run([toy("fine"), toy("hangs_in_c"), toy("fine", 1)]):
        if isinstance(event, WorkerStarted):
            pids.append(event.pid)
        if isinstance(event, Finished):
            found.append(event)
        if isinstance(event, Started) and event.trial.method.use == "hangs_in_c":
            start = time.monotonic()
            runs.stop(now=True)
    assert [event.result.trial.method.use for event in found] == ["fine"]
    assert time.monotonic() - start < 5
    assert all(is_gone(pid) for pid in pids)


def test_a_run_that_is_abandoned_leaves_no_worker(executor: Make) -> None:
    events = executor(slots=2, retries=ONCE).run([toy("hangs_in_c"), toy("hangs_in_c", 1)])
    pids = [event.pid for event in take_until(events, Started) if isinstance(event, WorkerStarted)]
    events.close()  # type: ignore[attr-defined]
    assert pids
    assert all(is_gone(pid) for pid in pids)


def take_until(events, kind):  # type: ignore[no-untyped-def]
    for event in events:
        yield event
        if isinstance(event, kind):
            return
