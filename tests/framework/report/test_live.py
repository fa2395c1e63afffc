"""The live view: what a run tells, on a terminal and without one."""

import io
import time

import pytest
from prunebench.cli.live import LiveView
from prunebench.engine.activity import Tally, clock
from prunebench.engine.activity.tally import outcome
from prunebench.engine.executors.events import Finished, Note, Progress, Started, WorkerLost, WorkerStarted
from prunebench.records import Choice
from rich.console import Console

from tests.framework.report import synthetic

RESULTS = list(synthetic.grid_results(["digits"], ["lenet5"], ["pca"], [1.5, 4], seeds=1))


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=200, highlight=False)


def test_without_a_terminal_each_finished_trial_is_one_line():
    console = plain_console()
    with LiveView(3, 0, console) as view:
        for result in RESULTS:
            view.on_event(Started(result.trial, "cpu:0", 1))
            view.on_event(Progress("cpu:0", result.trial.id, "prune", 0.5))
            view.on_event(Finished(result, "cpu:0"))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("[1/3] ok") and "seed 0" in lines[0] and "top-1" in lines[0]
    assert "declined" in lines[1] and "break-even" in lines[1]


def test_a_terminal_shows_workers_results_and_failures_without_scrolling():
    console = Console(file=io.StringIO(), width=150, force_terminal=True, color_system=None)
    with LiveView(10, 2, console) as view:
        view.on_event(WorkerStarted("cpu:1", "cpu", 7))
        view.on_event(Started(RESULTS[2].trial, "cpu:1", 2))
        view.on_event(Progress("cpu:1", RESULTS[2].trial.id, "fine-tune", 0.4))
        time.sleep(0.3)
        view.on_event(Finished(RESULTS[0], "cpu:0"))
        time.sleep(0.3)
    text = console.file.getvalue()
    assert "attempt 2" in text and "fine-tune 40%" in text and "1/10 trials" in text and "2 done before" in text


def test_the_screen_is_drawn_at_most_four_times_a_second(monkeypatch):
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with LiveView(1000, 0, console) as view:
        drawn = []
        monkeypatch.setattr(view._live, "update", lambda *_, **__: drawn.append(time.monotonic()))
        start = time.monotonic()
        while time.monotonic() - start < 0.6:
            view.on_event(Note("busy"))
            time.sleep(0.002)
    assert 1 <= len(drawn) <= 4


def test_no_thread_lives_between_events():
    import threading

    before = set(threading.enumerate())
    with LiveView(5, 0, Console(file=io.StringIO(), force_terminal=True)) as view:
        view.on_event(Finished(RESULTS[0], "cpu:0"))
        time.sleep(0.4)
        assert set(threading.enumerate()) <= before


def test_time_left_is_the_mean_of_measured_trials_shared_by_the_workers():
    tally = Tally(total=11, done_already=1)
    assert tally.seconds_left() is None
    for slot in ("cpu:0", "cpu:1"):
        tally.take(Finished(RESULTS[0], slot))
    assert tally.seconds_left() == pytest.approx(9 * RESULTS[0].seconds / 2)


def test_a_lost_worker_is_told_and_no_longer_counted():
    tally = Tally(4, 0)
    tally.take(WorkerStarted("cpu:0", "cpu", 1))
    tally.take(WorkerLost("cpu:0", "signal 11"))
    assert not tally.workers and "signal 11" in tally.notes[0]


def test_control_characters_of_a_plugin_do_not_reach_the_terminal():
    hostile = synthetic.ended(
        synthetic.trial("digits", "\x1b]0;owned\x07", Choice("x\x1b[2J"), 0), "failed", "boom\x1b[31m\nnext"
    )
    console = plain_console()
    with LiveView(1, 0, console) as view:
        view.on_event(Finished(hostile, "cpu:0"))
        view.on_event(Note("[bold]\x9b31m"))
    text = console.file.getvalue()
    assert not set(text) & {"\x1b", "\x07", "\x9b"}
    assert "\\x1b" in text and "[bold]" in text and text.count("\n") == 2


def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with LiveView(1, 0, console) as view:
        view.on_event(Finished(RESULTS[0], "cpu:0"))
        time.sleep(0.3)
    assert "\x1b[3" not in console.file.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0.44, "0.4 s"), (12, "12 s"), (187, "3:07"), (8049, "2:14:09")])
def test_durations_are_short(seconds, text):
    assert clock(seconds) == text


def test_an_untimed_result_has_no_speedup_in_its_line():
    assert "[" not in outcome(synthetic.without_latency(RESULTS[0]))
