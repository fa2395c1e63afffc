"""The book-keeping of a run in progress, and its summary in words."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from dataclasses import dataclass, replace

from prunebench.engine.executors.events import (
    Event,
    Finished,
    Note,
    Progress,
    Started,
    Waiting,
    WorkerLost,
    WorkerStarted,
)
from prunebench.records import Measurement, Result, Trial
from prunebench.writing import printable


@dataclass(frozen=True)
class Device:
    """What one worker is at."""

    slot: str
    device: str
    trial: str = ""  # empty while it waits
    phase: str = ""
    fraction: float | None = None  # of the phase, in [0, 1] where known
    since: float | None = None  # when the trial was handed over, by the host's clock that cannot be set


@dataclass(frozen=True)
class Ending:
    """A finished trial in words; `number` counts from 1 in the order of the ends."""

    number: int
    status: str
    trial: str
    outcome: str
    seconds: float | None


@dataclass(frozen=True)
class Snapshot:
    """A run at the time `at`, by the host's clock that cannot be set: plain data, every text safe to show."""

    at: float
    started_at: float
    total: int  # trials to run now
    done_before: int  # trials that earlier runs have done
    done: int  # of `total`
    endings: dict[str, int]
    seconds_left: float | None = None
    devices: tuple[Device, ...] = ()
    last: tuple[Ending, ...] = ()  # the latest last
    failures: tuple[Ending, ...] = ()
    notes: tuple[str, ...] = ()

    def later(self, now: float) -> Snapshot:
        """The same state seen at `now`: clocks have moved, nothing else. An estimate that has run out was none."""
        left = None if self.seconds_left is None else self.seconds_left - (now - self.at)
        return replace(self, at=now, seconds_left=None if left is None or left <= 0 else left)


@dataclass(frozen=True)
class _Post:
    device: str
    trial: Trial | None = None
    attempt: int = 1
    phase: str = ""
    fraction: float | None = None
    since: float | None = None


class Tally:
    """The run as its events tell it: pure book-keeping, no screen; words are made only for a snapshot."""

    def __init__(self, total: int, done_already: int) -> None:
        self.total, self.done_already = total, done_already  # trials to run now; trials that earlier runs have done
        self.started_at = time.monotonic()
        self.workers: dict[str, _Post] = {}
        self.finished: Counter[str] = Counter()
        self.seconds: deque[float] = deque(maxlen=60)
        self.last: deque[tuple[int, Result]] = deque(maxlen=5)
        self.failures: deque[tuple[int, Result]] = deque(maxlen=4)
        self.notes: deque[str] = deque(maxlen=3)

    @property
    def done(self) -> int:
        """Trials of this run that have an ending."""
        return sum(self.finished.values())

    def seconds_left(self) -> float | None:
        """Trials to come times the mean of the last trials' times, shared by the workers; None before the first."""
        if not self.seconds:
            return None
        return (self.total - self.done) * statistics.fmean(self.seconds) / max(1, len(self.workers))

    def take(self, event: Event) -> None:
        """Note what `event` changed."""
        match event:
            case WorkerStarted(slot, device):
                self.workers[slot] = _Post(device)
            case Started(trial, slot, attempt):
                self.workers[slot] = _Post(self._device(slot), trial, attempt, since=time.monotonic())
            case Waiting(slot, text):
                self.workers[slot] = _Post(self._device(slot), phase=text, since=time.monotonic() if text else None)
            case Progress(slot, _, phase, fraction) if slot in self.workers:
                self.workers[slot] = replace(self.workers[slot], phase=phase, fraction=fraction)
            case Finished(result, slot):
                self.workers[slot] = _Post(self._device(slot))
                self._finish(result)
            case WorkerLost(slot, reason):
                self.workers.pop(slot, None)
                self.notes.append(f"worker {slot} lost: {reason}")
            case Note(text):
                self.notes.append(text)

    def snapshot(self) -> Snapshot:
        """What there is to show now."""
        return Snapshot(
            at=time.monotonic(),
            started_at=self.started_at,
            total=self.total,
            done_before=self.done_already,
            done=self.done,
            endings=dict(self.finished),
            seconds_left=self.seconds_left() if self.done < self.total else None,
            devices=tuple(_device(slot, post) for slot, post in sorted(self.workers.items())),
            last=tuple(ending(*numbered) for numbered in self.last),
            failures=tuple(ending(*numbered) for numbered in self.failures),
            notes=tuple(printable(note) for note in self.notes),
        )

    def _device(self, slot: str) -> str:
        return self.workers[slot].device if slot in self.workers else slot

    def _finish(self, result: Result) -> None:
        self.finished[result.status] += 1
        self.last.append((self.done, result))
        if result.status == "ok":
            self.seconds.append(result.seconds)
        elif result.status != "skipped":
            self.failures.append((self.done, result))


def _device(slot: str, post: _Post) -> Device:
    again = f" (attempt {post.attempt})" if post.attempt > 1 else ""
    trial = trial_label(post.trial) + again if post.trial else ""
    return Device(printable(slot), printable(post.device), trial, printable(post.phase), post.fraction, post.since)


def ending(number: int, result: Result) -> Ending:
    """`result` in words."""
    return Ending(number, result.status, trial_label(result.trial), outcome(result), result.seconds)


def trial_label(trial: Trial) -> str:
    """`digits · lenet5 · low_rank(rank=10) · seed 2`."""
    names = (trial.dataset.label, trial.model.label, trial.method.label, f"seed {trial.seed}")
    return printable(" · ".join(names), 160)


def outcome(result: Result) -> str:
    """What came out, or why nothing did."""
    took = clock(result.seconds)
    if result.measurement is None:
        return f"{printable(result.reason, 160)}  {took}"
    m = result.measurement
    timed = [f"{x.speedup:.2f}x [{x.speedup_low:.2f}, {x.speedup_high:.2f}] at batch {x.batch}" for x in m.latency[:1]]
    return "  ".join([_headline(m), f"{m.nonzero_parameter_count:,} weights", *timed, took])


def clock(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3:07`, `2:14:09`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _headline(m: Measurement) -> str:
    if m.top1_accuracy is not None:
        return f"top-1 {m.top1_accuracy:.2%}"
    title = m.objective.title if m.objective else "score"
    is_share = m.objective is not None and m.objective.unit == "fraction"
    return title if m.score is None else f"{title} {m.score:.2%}" if is_share else f"{title} {m.score:.4g}"
