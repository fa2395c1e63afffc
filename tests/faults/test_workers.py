"""Faults 36 to 51: what becomes of a worker, and of the run that it works for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, ClassVar

import pytest
from executor_toys import ONCE, RUNNER, cpu, is_gone, results, toy, work_settings
from numbered import fault
from prunebench.engine import session
from prunebench.engine.executors import Executor, Note
from prunebench.engine.executors.local import LocalExecutor
from prunebench.errors import DeviceError
from prunebench.records import Result, decode
from prunebench.store import Store
from soak_run import trials

ROOT = Path(__file__).parents[2]
Run = Callable[..., dict[str, Result]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Executor]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "framework" / "executors"), prepend=os.pathsep)

    def executor(slots: int = 1, **settings: object) -> Executor:
        return LocalExecutor(cpu(slots), work_settings(tmp_path, settings), ONCE, RUNNER)

    return executor


@pytest.fixture
def run(make: Callable[..., Executor]) -> Run:
    """`run("segfaults")`: how the toys of these names ended, an innocent one after each."""

    def ended(*names: str, **settings: object) -> dict[str, Result]:
        asked = [toy(name, seconds=30) if name == "sleeps" else toy(name) for name in names]
        innocent = [toy("fine", network) for network in range(1, 1 + len(asked))]
        found = results(make(**settings).run([one for pair in zip(asked, innocent, strict=True) for one in pair]))
        assert all(result.status == "ok" for name, result in found.items() if name.startswith("fine"))
        return {name.split("(")[0]: result for name, result in found.items()}

    return ended


@fault(36, "a segmentation fault in a method", "status killed, signal 11; no other trial is touched")
def test_a_segmentation_fault_costs_its_own_trial(run: Run) -> None:
    result = run("segfaults")["segfaults"]
    assert (result.status, result.reason) == ("killed", "killed (signal 11, SIGSEGV)")
    assert "string_at" in result.detail, "where it was is in the detail"


@fault(37, "a method that calls os._exit(3)", "status killed, the exit code")
def test_an_exit_has_its_code(run: Run) -> None:
    result = run("exits")["exits"]
    assert (result.status, result.reason) == ("killed", "the worker exited with code 3")


@fault(38, "SIGKILL, or the kernel's lack of memory", "killed (signal 9), maybe out of memory; oom where it was")
def test_a_kill_says_that_memory_may_have_been_short(run: Run) -> None:
    ended = run("killed", "aborts_for_memory")
    assert (ended["killed"].status, ended["killed"].reason) == ("killed", "killed (signal 9), maybe out of memory")
    assert ended["aborts_for_memory"].status == "oom"


@fault(39, "a method that sleeps for ever", "killed at the limit, status timeout")
@fault(40, "a method that hangs and ignores SIGTERM", "killed at the limit, status timeout")
@fault(41, "a method that hangs in C with the interpreter's lock", "killed at the limit, status timeout")
def test_whatever_hangs_ends_at_the_limit(run: Run) -> None:
    ended = run("sleeps", "hangs_in_c", timeout_seconds=0.5)
    for result in ended.values():
        if result.trial.method.use != "fine":
            assert (result.status, result.reason) == ("timeout", "killed after 0.5 s, the time limit per trial")
            assert 0.5 <= result.seconds < 10


@fault(42, "an exception that cannot be pickled", "a failed trial with its text: nothing is pickled")
def test_an_exception_travels_as_text(tmp_path: Path) -> None:
    from prunebench.engine.worker.__main__ import attempt
    from prunebench.engine.worker.messages import Order

    class Odd(Exception):
        def __reduce__(self) -> object:  # type: ignore[override]
            raise TypeError("no pickling")

    class Bench:
        def run_trial(self, trial: object) -> Result:
            raise Odd("a closure in it", lambda: None)

    result = attempt(Bench(), Order(toy("fine")), None)  # type: ignore[arg-type]
    assert result.status == "failed" and result.reason.startswith("Odd: ('a closure in it'")


@pytest.mark.parametrize(
    ("text", "reason"), [("a name \udcff of bytes", "Unheard: a name \\udcff of bytes"), (None, "Unheard")]
)
@fault(42, "an exception whose text is not UTF-8, or that raises when it is read", "a failed trial that names it")
def test_an_exception_that_cannot_be_said_is_named(text: str | None, reason: str) -> None:
    from prunebench.engine.worker.__main__ import attempt
    from prunebench.engine.worker.messages import Order, Report
    from prunebench.engine.worker.validity import encoded

    class Unheard(Exception):
        def __str__(self) -> str:
            if text is None:
                raise RuntimeError("no text")
            return text

    class Bench:
        def run_trial(self, trial: object) -> Result:
            raise Unheard

    result = decode(encoded(attempt(Bench(), Order(toy("fine")), None)), Report).result  # type: ignore[arg-type]
    assert result is not None and (result.status, result.reason) == ("failed", reason)


@fault(43, "a result of 200 MB", "refused by its size, a failed trial")
def test_a_result_of_200_megabytes_is_refused_by_its_size(run: Run) -> None:
    result = run("returns_much")["returns_much"]
    assert (result.status, result.reason) == ("failed", "invalid result: 200 MB is over the limit of 64 MB")


class Driver:
    """A run in a process of its own."""

    def __init__(self, database: Path, count: int, seconds: float) -> None:
        script = ROOT / "benchmarks" / "soak_run.py"
        command = [sys.executable, str(script), str(database), "0", str(count), str(seconds)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[list[str]] = []

    @property
    def out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def until(self, kind: str, count: int) -> None:
        """Read on to the `count`-th line of `kind`."""
        while len(self.named(kind)) < count:
            line = self.out.readline()
            assert line, f"ended before {count} {kind}: {self.lines}"
            self.lines.append(line.split())

    def named(self, kind: str) -> list[str]:
        return [line[1] for line in self.lines if line[0] == kind and len(line) > 1]

    def rest(self) -> int:
        """Read what still comes; the exit code."""
        self.lines += [line.split() for line in self.out]
        return self.process.wait(timeout=60)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    drivers = []

    def start(count: int = 40, seconds: float = 0.2) -> Driver:
        drivers.append(Driver(tmp_path / "runs" / "results.duckdb", count, seconds))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.process.kill()
        driver.process.communicate()


def stored(tmp_path: Path, count: int = 40, seconds: float = 0.2) -> dict[str, str]:
    return Store(tmp_path / "runs" / "results.duckdb").finished([t.id for t in trials(0, count, seconds)])


@fault(44, "Ctrl-C once", "what runs is finished and stored, exit code 130, the same command goes on")
def test_one_ctrl_c_stores_what_runs_and_the_next_call_goes_on(begin: Callable[..., Driver], tmp_path: Path) -> None:
    driver = begin()
    driver.until("finished", 3)
    driver.process.send_signal(signal.SIGINT)
    assert driver.rest() == 130
    done = driver.named("finished")
    assert sorted(done) == sorted(driver.named("started")), "nothing that had begun was thrown away"
    assert 3 <= len(done) < 40
    assert set(stored(tmp_path)) == set(done)
    again = begin()
    again.until("started", 4)
    assert not set(again.named("started")) & set(done)


@fault(44, "Ctrl-C twice", "everything ends at once; what was acknowledged is stored")
def test_two_ctrl_c_end_at_once(begin: Callable[..., Driver], tmp_path: Path) -> None:
    driver = begin(seconds=15)
    driver.until("started", 2)
    start = time.monotonic()
    driver.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    driver.process.send_signal(signal.SIGINT)
    assert driver.rest() == 130
    assert time.monotonic() - start < 10
    assert all(is_gone(int(pid)) for pid in driver.named("worker"))
    assert stored(tmp_path, seconds=15) == {}


@fault(44, "Ctrl-C or SIGTERM while trials run", "said at once: what runs is finished, a second one stops")
def test_a_run_that_drains_says_so_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    class Workers:
        asked: ClassVar[list[bool]] = []

        def stop(self, now: bool) -> None:
            self.asked.append(now)

    with session._signals(Workers()) as stopping:  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.is_set()
    assert Workers.asked == [False, True]
    told = "bench: finishing the trials that run; a second Ctrl-C (or SIGTERM) stops at once\n"
    assert capfd.readouterr().err == told


@fault(45, "kill -9 of the run itself", "no worker is left a second later; only what was not acknowledged runs again")
def test_after_a_kill_no_worker_is_left_and_nothing_acknowledged_is_lost(
    begin: Callable[..., Driver], tmp_path: Path
) -> None:
    driver = begin()
    driver.until("finished", 4)
    driver.process.kill()
    driver.process.wait()
    assert all(is_gone(int(pid), within_seconds=1.5) for pid in driver.named("worker"))
    assert set(driver.named("finished")) <= set(stored(tmp_path))


@fault(45, "a method's own child processes when the run is killed", "gone with the worker")
def test_children_of_a_method_end_with_their_worker(make: Callable[..., Executor], tmp_path: Path) -> None:
    results(make().run([toy("forks_and_dies"), toy("fine")]))
    assert is_gone(int((tmp_path / "child").read_text()), within_seconds=6)


@fault(46, "a worker that prints garbage on stdout", "it is in the slot's log and nowhere else")
def test_prints_are_a_log_and_no_protocol(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("prints")["prints"].status == "ok"
    assert "noise" not in "".join(capfd.readouterr())
    logs = list((tmp_path / "logs").glob("*.log*"))
    assert b"noise" in b"".join(log.read_bytes() for log in logs)
    assert sum(log.stat().st_size for log in logs) < 3 * 2**20


@fault(47, "a worker that dies at every start", "the slot is given up after three, the run ends with the reason")
def test_a_slot_is_given_up_after_three_starts(make: Callable[..., Executor], tmp_path: Path) -> None:
    told = []
    with pytest.raises(DeviceError, match="after 3 tries per slot: the worker exited with code 7"):
        for event in make(data_dir=str(tmp_path / "dies")).run([toy("fine")]):
            told.append(event)
    assert any("given up" in event.text for event in told if isinstance(event, Note))


@fault(48, "CUDA out of memory, or a device-side assertion", "the worker is replaced before the next trial")
def test_a_worker_with_a_broken_device_is_replaced() -> None:
    from test_supervisor import test_after_a_cuda_error_the_next_trial_gets_a_fresh_worker as on_puppets

    on_puppets()


@fault(50, "a clock that jumps", "durations stay right: they are taken from a clock that cannot be set")
def test_durations_do_not_follow_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    from prunebench.engine.worker.__main__ import attempt
    from prunebench.engine.worker.messages import Order

    class Bench:
        def run_trial(self, trial: object) -> Result:
            monkeypatch.setattr(time, "time", lambda: 1e9)
            raise ValueError("after the jump")

    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert 0 <= attempt(Bench(), Order(toy("fine")), None).seconds < 5  # type: ignore[arg-type]


@fault(50, "a clock that jumps", "no duration or deadline in the framework is taken from the clock on the wall")
def test_nothing_in_the_framework_measures_with_the_clock_on_the_wall() -> None:
    allowed = {"publish.py"}  # names of files that were set aside
    users = {
        path.name for path in (ROOT / "framework").rglob("*.py") if "time.time(" in path.read_text(encoding="utf-8")
    }
    assert users <= allowed


@fault(51, "a terminal that is closed (SIGHUP)", "as Ctrl-C: what runs is finished and stored")
def test_a_closed_terminal_is_as_ctrl_c(begin: Callable[..., Driver], tmp_path: Path) -> None:
    driver = begin()
    driver.until("finished", 2)
    driver.process.send_signal(signal.SIGHUP)
    assert driver.rest() == 130
    assert set(stored(tmp_path)) == set(driver.named("finished"))


@fault(51, "a terminal that is closed after `nohup bench run … &`", "the run goes on: what nohup ignores stays ignored")
def test_nohup_is_obeyed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with session._signals(None):  # type: ignore[arg-type]
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)


@fault(51, "a stdout that is closed (`| head -1`)", "no traceback, exit code 0")
def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m prunebench plugins --json | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, "", 10)


@fault(51, "a reader of a run's output that leaves (`bench run … | head -1`)", "a line on stderr; the run goes on")
def test_a_run_goes_on_when_nobody_reads_its_output() -> None:
    code = (
        "import os, sys, time\n"
        "from prunebench.cli.live import Screen\n"
        "screen = Screen()\n"
        "screen.print('first', style='bold')\n"
        "time.sleep(0.5)\n"
        "for number in range(3): screen.print('more'); sys.stdout.flush()\n"
        "print('done', file=sys.stderr)"
    )
    command = f'{sys.executable} -c "$CODE" | head -1'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env={**os.environ, "CODE": code}
    )
    assert (done.returncode, done.stdout) == (0, "first\n")
    assert done.stderr == "bench: nobody reads the output any more; the run goes on\ndone\n"


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- 2>&- <&-"])
@fault(51, "standard streams that are closed (`>&- 2>&-`)", "as if they led to nobody; no file takes their number")
def test_closed_streams_are_nobody(closed: str, tmp_path: Path) -> None:
    words = f"{sys.executable} -m prunebench"
    done = subprocess.run(["bash", "-c", f"{words} new method mine {closed}"], capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["prunebench-mine"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", ["--help", "plugins --json", "papers"])
@fault(51, "output that goes to a full disk", "one line with the reason, exit code 2")
def test_output_on_a_full_disk_is_one_line(words: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m prunebench {words} > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "bench: the output: No space left on device\n")
