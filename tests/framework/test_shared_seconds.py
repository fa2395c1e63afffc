"""A trial pays for the kept work it uses as if it did it alone: each result once, however often it is asked for."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from prunebench.trial import task as tasks


@pytest.fixture
def clock(monkeypatch):
    """A clock that only `clock.advance` moves."""
    state = SimpleNamespace(now=100.0)
    state.advance = lambda seconds: setattr(state, "now", state.now + seconds)
    monkeypatch.setattr(time, "monotonic", lambda: state.now)
    return state


@pytest.fixture
def memory():
    return tasks.Memory()


def trial(memory):
    """A task of which only `once` is used."""
    task = object.__new__(tasks.TrialTask)
    task.memory, task.shared_seconds, task.paid = memory, 0.0, set()
    return task


def grams(task, clock):
    return task.once("grams", lambda: clock.advance(5) or [1])


def factors(task, clock):
    """Takes two seconds beyond its Grams."""
    return task.once("factors", lambda: grams(task, clock) and (clock.advance(2) or [2]))


def ranks(task, clock):
    """Takes one second beyond its factors, and asks for the Grams as well."""
    return task.once("ranks", lambda: factors(task, clock) and grams(task, clock) and (clock.advance(1) or [3]))


def test_a_result_is_paid_once_however_often_it_is_asked_for(memory, clock):
    first = trial(memory)
    for _ in range(21):
        grams(first, clock)
    assert first.shared_seconds == 0  # it did the work itself
    second = trial(memory)
    for _ in range(21):
        grams(second, clock)
    assert second.shared_seconds == 5


@pytest.mark.parametrize("order", [(ranks, factors, grams), (grams, factors, ranks), (factors, ranks, grams), (ranks,)])
def test_a_result_made_of_others_is_paid_with_them_once(memory, clock, order):
    alone = trial(memory)
    started = clock.now
    for make in order:
        make(alone, clock)
    assert (clock.now - started, alone.shared_seconds) == (8, 0)
    later = trial(memory)
    for make in order:
        make(later, clock)
    assert (clock.now - started, later.shared_seconds) == (8, 8)


def test_what_one_trial_began_and_another_went_on_with_costs_the_same(memory, clock):
    grams(trial(memory), clock)
    started, second = clock.now, trial(memory)
    ranks(second, clock)
    assert clock.now - started + second.shared_seconds == 8
    third = trial(memory)
    ranks(third, clock)
    assert third.shared_seconds == 8


def test_work_that_failed_leaves_the_costs_of_the_rest_right(memory, clock):
    def fails():
        clock.advance(3)
        raise ValueError("no")

    first = trial(memory)
    for _ in range(2):
        with pytest.raises(ValueError):
            first.once("broken", fails)
    ranks(first, clock)
    later = trial(memory)
    ranks(later, clock)
    assert later.shared_seconds == 8
