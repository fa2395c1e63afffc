"""Turns between threads and processes, each with its own open files."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from prunebench.measure.latency.turn import Turn, physical


def in_thread(work: object) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def timer_that_waits(folder: Path, device: str, got: threading.Event, leave: threading.Event) -> threading.Thread:
    def work() -> None:
        with Turn(folder, device).timing():
            got.set()
            leave.wait(10)

    return in_thread(work)


def breathe_until(turn: Turn, event: threading.Event, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not event.is_set():
        turn.breathe()
        time.sleep(0.005)
    return event.is_set()


def test_many_may_work_at_once(tmp_path: Path) -> None:
    with Turn(tmp_path).working(), Turn(tmp_path).working():
        Turn(tmp_path).breathe()


def test_a_timer_waits_for_work_to_end(tmp_path: Path) -> None:
    got, leave = threading.Event(), threading.Event()
    with Turn(tmp_path).working():
        timer = timer_that_waits(tmp_path, "cpu", got, leave)
        assert not got.wait(0.1)
    assert got.wait(10)
    leave.set()
    timer.join(10)


def test_work_steps_aside_when_it_breathes_and_goes_on_after(tmp_path: Path) -> None:
    got, leave = threading.Event(), threading.Event()
    turn = Turn(tmp_path)
    with turn.working():
        timer = timer_that_waits(tmp_path, "cpu", got, leave)
        in_thread(lambda: (got.wait(10), time.sleep(0.1), leave.set()))
        assert breathe_until(turn, got)
        assert leave.is_set()  # breathe came back only when the timer was done
        timer.join(10)
        blocked = threading.Event()
        in_thread(lambda: (Turn(tmp_path).timing().__enter__(), blocked.set()))
        assert not blocked.wait(0.1)  # the work has its place again


def test_a_waiting_timer_goes_before_work_that_comes_later(tmp_path: Path) -> None:
    order: list[str] = []
    got, leave, started = threading.Event(), threading.Event(), threading.Event()

    def late() -> None:
        started.set()
        with Turn(tmp_path).working():
            order.append("work")

    with Turn(tmp_path).working():
        timer = timer_that_waits(tmp_path, "cpu", got, leave)
        time.sleep(0.1)
        worker = in_thread(late)
        assert started.wait(10)
        time.sleep(0.1)
        assert order == []
    assert got.wait(10)
    assert order == []
    leave.set()
    worker.join(10)
    timer.join(10)
    assert order == ["work"]


def test_two_timers_never_meet(tmp_path: Path) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with Turn(tmp_path).timing():
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.0005)
                with guard:
                    inside -= 1

    threads = [in_thread(work) for _ in range(4)]
    for thread in threads:
        thread.join(20)
    assert most == 1


def test_who_works_may_time_and_work_on(tmp_path: Path) -> None:
    turn = Turn(tmp_path)
    with turn.working():
        with turn.timing():
            pass
        got = threading.Event()
        timer_that_waits(tmp_path, "cpu", got, threading.Event())
        assert not got.wait(0.1)


def test_a_card_is_timed_beside_another_card_but_not_beside_cpu_timing(tmp_path: Path) -> None:
    with Turn(tmp_path, "cuda:1").working(), Turn(tmp_path, "cpu").working(), Turn(tmp_path, "cuda:0").timing():
        got = threading.Event()
        leave = threading.Event()
        leave.set()
        timer = timer_that_waits(tmp_path, "cpu", got, leave)
        assert not got.wait(0.1)
    assert got.wait(10)
    timer.join(10)


def test_a_dead_process_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from prunebench.measure.latency.turn import Turn\n"
        "turn = Turn(Path(sys.argv[1])); turn.timing().__enter__(); print('in', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "in\n"
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    with Turn(tmp_path).timing():
        pass


def test_an_error_inside_gives_the_room_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Turn(tmp_path).timing():
        _ = 1 / 0
    with Turn(tmp_path).timing():
        pass


def test_breathing_costs_next_to_nothing(tmp_path: Path) -> None:
    turn = Turn(tmp_path)
    with turn.working():
        start = time.thread_time()
        for _ in range(2000):
            turn.breathe()
        assert (time.thread_time() - start) / 2000 < 5e-6


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    Turn(tmp_path / "locks")
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("visible", "device", "wanted"),
    [
        ("", "cuda:1", "cuda-1"),
        ("3,5", "cuda:1", "cuda-5"),
        ("3", "cuda", "cuda-3"),
        ("GPU-ab", "cuda:0", "cuda-GPU-ab"),
    ],
)
def test_a_card_has_one_name_whatever_a_process_sees(
    visible: str, device: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert physical(device) == wanted
