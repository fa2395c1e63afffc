"""The supervision, over workers that are only pretended and a clock that is turned by hand."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Sequence

import pytest
from executor_toys import ONCE, Make, cpu, results, toy
from prunebench.engine.executors import Event, Finished, Note, RetryPolicy, Slot, Started, Waiting, WorkerLost
from prunebench.engine.executors.supervisor import Supervisor
from prunebench.engine.executors.transport import Exited, Happening, Said
from prunebench.engine.worker.messages import RELEASE, Order, Report
from prunebench.errors import DeviceError
from prunebench.records import Result, decode, encode

READY = encode(Report("ready", pid=1))


class Puppets:
    """A transport: `on_start` and `on_order` say what follows; a `float` among it lets time pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.on_start: Callable[[str], list[Happening | float]] = lambda slot: [Said(slot, READY)]
        self.on_order: Callable[[str, Order], list[Happening | float]] = lambda slot, order: [ok(slot, order)]
        self.killed: list[str] = []
        self.released: list[str] = []
        self.closed_now: bool | None = None
        self._script: list[Happening | float] = []

    def start(self, slot: Slot) -> None:
        self._script += self.on_start(slot.name)

    def send(self, slot: str, line: bytes) -> None:
        if line == RELEASE:
            self.released.append(slot)
        else:
            self._script += self.on_order(slot, decode(line, Order))

    def kill(self, slot: str) -> None:
        self.killed.append(slot)
        self._script.insert(0, Exited(slot, "killed (signal 9), maybe out of memory"))

    def wait(self, seconds: float | None) -> Sequence[Happening]:
        step = self._script[0] if self._script else float("inf")
        if not isinstance(step, float):
            return [self._script.pop(0)]  # type: ignore[list-item]
        patience = float("inf") if seconds is None else seconds
        assert min(step, patience) < float("inf"), "it would wait for ever"
        self.now += min(step, patience)
        if step <= patience:
            self._script.pop(0)
        else:
            self._script[0:1] = [step - patience]
        return []

    def wake(self) -> None:
        pass

    def close(self, now: bool) -> None:
        self.closed_now = now


def ok(slot: str, order: Order) -> Said:
    return Said(slot, encode(Report("result", result=Result(order.trial, "ok"))))


def begun(slot: str) -> Said:
    return Said(slot, encode(Report("begun")))


def dying_once_between_trials() -> Callable[[str, Order], list[Happening | float]]:
    deaths = [Exited("cpu:0", "killed (signal 9)")]
    return lambda slot, order: [begun(slot), ok(slot, order), *(deaths.pop() for _ in deaths[:1])]


def supervise(puppets: Puppets, slots: int = 1, timeout: float | None = None, retries: RetryPolicy = ONCE):  # type: ignore[no-untyped-def]
    return Supervisor(cpu(slots), puppets, retries, timeout, lambda: puppets.now)


def texts(events: Sequence[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def test_the_limit_counts_from_when_a_worker_has_its_device() -> None:
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [3600.0, begun(slot), 9.0, ok(slot, order)]
    assert results(supervise(puppets, timeout=10.0).run([toy("fine")]))["fine"].status == "ok"
    puppets.on_order = lambda slot, order: [3600.0, begun(slot), 11.0, ok(slot, order)]
    late = results(supervise(puppets, timeout=10.0).run([toy("fine")]))["fine"]
    assert (late.status, late.reason) == ("timeout", "killed after 10 s, the time limit per trial")
    assert late.seconds == 3610.0


def test_a_death_is_not_charged_to_a_trial_that_never_began() -> None:
    puppets = Puppets()
    puppets.on_order = dying_once_between_trials()
    events = list(supervise(puppets).run([toy("fine"), toy("fine", 1)]))
    assert [(result.status, result.attempt) for result in results(events).values()] == [("ok", 1), ("ok", 1)]


def test_a_worker_that_does_not_get_ready_in_five_minutes_is_killed() -> None:
    puppets = Puppets()
    puppets.on_start = lambda slot: []
    with pytest.raises(DeviceError, match="after 3 tries per slot: not ready after 300 s"):
        list(supervise(puppets).run([toy("fine")]))
    assert puppets.killed == ["cpu:0"] * 3
    assert puppets.now == 900.0


def test_one_slot_that_never_starts_leaves_the_work_to_the_others() -> None:
    puppets = Puppets()
    puppets.on_start = lambda slot: [Said(slot, READY)] if slot == "cpu:0" else [Exited(slot, "no")]
    puppets.on_order = lambda slot, order: [1.0, ok(slot, order)]
    events = list(supervise(puppets, slots=2).run([toy("fine", network) for network in range(9)]))
    assert len(results(events)) == 9
    assert "cpu:1 is given up: 3 workers died before they began a trial: no" in texts(events)


def test_a_start_that_the_system_refuses_counts_as_a_failed_one(local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **settings: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(DeviceError, match=r"the system cannot start a process: .* Resource temporarily unavailable"):
        list(local().run([toy("fine")]))


def test_a_worker_that_dies_in_every_trial_is_no_crash_loop() -> None:
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [begun(slot), Exited(slot, "killed (signal 11, SIGSEGV)")]
    found = results(supervise(puppets).run([toy("fine", network) for network in range(7)]))
    assert [result.status for result in found.values()] == ["killed"] * 7


def test_workers_that_die_before_they_begin_charge_no_trial() -> None:
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [Exited(slot, "killed (signal 9)")]
    events = []
    with pytest.raises(DeviceError, match=r"killed \(signal 9\)"):
        for event in supervise(puppets).run([toy("fine")]):
            events.append(event)
    assert not any(isinstance(event, Finished) for event in events)


def test_a_retry_does_not_wait_for_the_slot_that_lost_it() -> None:
    puppets = Puppets()
    starts = [[Said("cpu:0", READY)], [Said("cpu:1", READY)]]
    puppets.on_start = lambda slot: starts.pop(0) if starts else []
    deaths = [[begun("cpu:0"), Exited("cpu:0", "killed (signal 9)")]]
    puppets.on_order = lambda slot, order: deaths.pop() if deaths else [begun(slot), ok(slot, order)]
    events = list(supervise(puppets, slots=2, retries=RetryPolicy(killed=1)).run([toy("fine"), toy("dense")]))
    assert [result.status for result in results(events).values()] == ["ok", "ok"]
    assert puppets.now == 0.0


def test_silence_is_told_once_and_ends_nothing() -> None:
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [500.0, ok(slot, order)]
    events = list(supervise(puppets).run([toy("fine")]))
    assert texts(events) == ["cpu:0 gave no sign of life for 60 s: a long call in C code?"]
    assert results(events)["fine"].status == "ok"


def test_beats_are_signs_of_life() -> None:
    puppets = Puppets()
    beat = encode(Report("beat"))
    puppets.on_order = lambda slot, order: [*[10.0, Said(slot, beat)] * 20, ok(slot, order)]
    assert texts(list(supervise(puppets).run([toy("fine")]))) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"garbage", "invalid result: JSON is malformed"),
        (b'{"kind":"result","result":{"status":"splendid"}}', "invalid result: status: Invalid enum value 'splendid'"),
    ],
)
def test_a_worker_that_talks_nonsense_is_replaced(line: bytes, reason: str) -> None:
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [Said(slot, line)]
    events = list(supervise(puppets).run([toy("fine")]))
    assert results(events)["fine"].reason.startswith(reason)
    assert puppets.killed == ["cpu:0"]
    assert not any(isinstance(event, WorkerLost) for event in events), "it was not lost, it was sent away"


def test_a_result_for_another_trial_is_refused() -> None:
    puppets, other = Puppets(), toy("fine", 9)
    puppets.on_order = lambda slot, order: [Said(slot, encode(Report("result", result=Result(other, "ok"))))]
    result = results(supervise(puppets).run([toy("fine")]))["fine"]
    assert result.status == "failed"
    assert result.reason.startswith("invalid result: trial: asked for ")


def test_after_a_cuda_error_the_next_trial_gets_a_fresh_worker() -> None:
    def answer(slot: str, order: Order) -> list[Happening | float]:
        failed = Result(order.trial, "failed", "RuntimeError: CUDA error: device-side assert triggered")
        return [Said(slot, encode(Report("result", result=failed)))]

    puppets = Puppets()
    puppets.on_order = answer
    assert len(results(supervise(puppets).run([toy("fine"), toy("fails")]))) == 2
    assert len(puppets.killed) == 2


def test_a_trial_that_spoilt_what_is_shared_gets_the_next_a_fresh_worker() -> None:
    puppets = Puppets()
    spent = iter([True, False])

    def answer(slot: str, order: Order) -> list[Happening | float]:
        report = Report("result", result=Result(order.trial, "failed"), is_spent=next(spent))
        return [begun(slot), Said(slot, encode(report))]

    puppets.on_order = answer
    events = list(supervise(puppets).run([toy("first"), toy("second")]))
    assert [result.status for result in results(events).values()] == ["failed", "failed"]
    assert puppets.killed == ["cpu:0"] and not any(isinstance(event, WorkerLost) for event in events)


def test_the_plan_is_taken_in_portions() -> None:
    puppets, drawn = Puppets(), []

    def plan():  # type: ignore[no-untyped-def]
        for network in range(100_000):
            drawn.append(network)
            yield toy("fine", network)

    events = supervise(puppets).run(plan())
    for _ in range(2000):
        next(events)
    assert len(drawn) < 25_000
    events.close()
    assert puppets.closed_now


def test_an_error_in_the_plan_ends_the_workers_and_is_raised() -> None:
    def plan():  # type: ignore[no-untyped-def]
        yield toy("fine")
        raise ValueError("no such method")

    puppets = Puppets()
    with pytest.raises(ValueError, match="no such method"):
        list(supervise(puppets).run(plan()))
    assert puppets.closed_now


def test_drained_it_lets_workers_leave_and_a_retry_stays_undone() -> None:
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [begun(slot), Exited(slot, "killed (signal 9)")]
    supervisor = supervise(puppets, retries=RetryPolicy(killed=1))
    events = []
    for event in supervisor.run([toy("fine"), toy("fine", 1)]):
        events.append(event)
        supervisor.stop()
    assert not any(isinstance(event, Finished) for event in events)
    assert puppets.closed_now is False


def test_an_executor_that_is_never_run_leaves_nothing_open(local: Make) -> None:
    executor = local()
    executor.stop()
    del executor  # an open socket would be a warning, and a warning is an error
    gc.collect()


def test_a_stop_after_the_end_is_nothing(local: Make) -> None:
    executor = local()
    assert len(results(executor.run([toy("fine")]))) == 1
    executor.stop(now=True)


def test_workers_that_still_start_when_all_is_done_are_not_waited_for() -> None:
    puppets = Puppets()
    puppets.on_start = lambda slot: [Said(slot, READY)] if slot == "cpu:0" else []
    assert len(results(supervise(puppets, slots=2).run([toy("fine"), toy("fails")]))) == 2
    assert puppets.killed == ["cpu:1"]


def waiting(slot: str) -> Said:
    return Said(slot, encode(Report("waiting", text="cpu-1 is in use by another run")))


def holding(slot: str) -> Said:
    return Said(slot, encode(Report("holding")))


def test_who_must_wait_for_its_device_leaves_its_network_to_who_has_one() -> None:
    """One of two slots never gets its device: the other does all trials of both networks."""
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [waiting(slot)] if slot == "cpu:1" else [begun(slot), ok(slot, order)]
    trials = [toy("fine", network) for network in range(4)]
    events = list(supervise(puppets, slots=2).run(trials))
    assert len(results(events)) == 4
    assert {event.slot for event in events if isinstance(event, Finished)} == {"cpu:0"}
    assert puppets.killed == ["cpu:1"]  # at the end: it would wait on
    assert texts(events) == ["cpu:1: cpu-1 is in use by another run: waiting for it"]


def test_a_device_that_has_come_is_used_or_given_back() -> None:
    puppets, waited = Puppets(), list[str]()

    def on_order(slot: str, order: Order) -> list[Happening | float]:
        if slot == "cpu:0" and not waited:
            waited.append(slot)
            return [waiting(slot), 5.0, holding(slot)]
        return [begun(slot), ok(slot, order)]

    puppets.on_order = on_order
    alone = list(supervise(puppets).run([toy("fine"), toy("fine", 1)]))
    assert len(results(alone)) == 2 and puppets.released == []
    assert [event.text for event in alone if isinstance(event, Waiting)] == ["cpu-1 is in use by another run", ""]
    assert sum(isinstance(event, Started) for event in alone) == 3

    puppets = Puppets()
    last: list[Said] = []

    def too_late(slot: str, order: Order) -> list[Happening | float]:
        """The device of the one comes when the last trial runs already, on that of the other."""
        if slot == "cpu:0":
            last.append(holding(slot))
            return [waiting(slot)]
        return [begun(slot), *last, 1.0, ok(slot, order)]

    puppets.on_order = too_late
    assert len(results(supervise(puppets, slots=2).run([toy("fine")]))) == 1
    assert puppets.released == ["cpu:0"]


def test_a_run_that_only_waits_ends_at_the_first_stop() -> None:
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [waiting(slot)]
    supervisor, events = supervise(puppets, slots=2), []
    for event in supervisor.run([toy("fine"), toy("fine", 1)]):
        events.append(event)
        if sum(isinstance(event, Waiting) for event in events) == 2:
            supervisor.stop()
    assert not any(isinstance(event, Finished) for event in events)
    assert puppets.killed == ["cpu:0", "cpu:1"] and puppets.closed_now is False


def test_a_run_that_drains_says_once_what_it_still_waits_for() -> None:
    puppets = Puppets()
    puppets.on_order = lambda slot, order: [begun(slot), Said(slot, encode(Report("beat"))), 5.0, ok(slot, order)]
    supervisor, events = supervise(puppets), []
    for event in supervisor.run([toy("fine"), toy("fine", 1)]):
        events.append(event)
        if isinstance(event, Started):
            supervisor.stop()
    told = ["finishing the trial that runs, then it ends; a second Ctrl-C (or SIGTERM) stops at once"]
    assert texts(events) == told and sum(isinstance(event, Finished) for event in events) == 1
