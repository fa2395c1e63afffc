"""What happens to slots, workers and trials, wherever the workers are: one loop over a transport.

A `Transport` starts, addresses and kills workers and tells what happens to them; everything that is decided is decided
here, once, for this machine and for a cluster. There is one job a worker, so a dead worker costs exactly its trial.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from prunebench.engine.executors.events import (
    RETRIES,
    Event,
    Finished,
    Note,
    Progress,
    RetryPolicy,
    Slot,
    Started,
    Waiting,
    WorkerLost,
    WorkerStarted,
)
from prunebench.engine.executors.schedule import Job, Schedule
from prunebench.engine.executors.transport import Exited, Happening, Post, State, Transport
from prunebench.engine.worker.messages import RELEASE, Order, Report
from prunebench.engine.worker.validity import complaint, invalid
from prunebench.errors import DeviceError
from prunebench.records import Provenance, Result, Status, Trial, decode, encode

START_SECONDS = 300.0  # for a worker to import everything
START_LIMIT = 3  # workers in a row that die before they begin a trial, then the slot is given up
WAIT_NOTE_SECONDS = 60.0  # between two lines that a slot waits for its device
SILENCE_SECONDS = 60.0  # without a sign of life, then people are told
LOOKAHEAD = 20_000  # trials taken from the plan ahead of the workers
FEED = 256  # trials taken from the plan between two looks at the workers
OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "out of memory", "can't allocate memory", "Cannot allocate memory")


class Supervisor:
    """An `Executor` over any transport; `clock` counts seconds."""

    def __init__(
        self,
        slots: Sequence[Slot],
        transport: Transport,
        retries: RetryPolicy = RETRIES,
        timeout_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._schedule = Schedule(retries)
        self._posts = {slot.name: Post(slot) for slot in slots}
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._origin_of: Callable[[Trial], str] | None = None
        self._stop: Literal["", "drain", "now"] = ""
        self._is_fed = False
        self._has_said_so = False  # that it drains

    def isolate(self, origin_of: Callable[[Trial], str]) -> None:
        """A worker runs trials of one origin only; for another it is replaced."""
        self._origin_of = origin_of

    def stop(self, now: bool = False) -> None:
        """Begin no further trial, or kill those under way too."""
        self._stop = "now" if now or self._stop == "now" else "drain"
        self._transport.wake()

    def run(self, trials: Iterable[Trial]) -> Iterator[Event]:
        """Exactly one `Finished` a trial, unless it is stopped; ends the workers when it ends or is closed."""
        is_drained = False
        try:
            self._start_first(operator.length_hint(trials, len(self._posts)))
            feed = iter(trials)
            while not self._is_over():
                self._feed(feed)
                yield from self._say_that_it_drains()
                yield from self._assign()
                self._release_devices()
                if self._is_over():
                    break
                for happening in self._transport.wait(self._patience()):
                    yield from self._handle(happening)
                yield from self._look_at_the_clock()
            is_drained = self._stop != "now"
        finally:
            for post in self._posts.values():
                if post.state in ("starting", "waiting"):  # it has nothing to lose, and would first go on with that
                    self._transport.kill(post.slot.name)
            self._transport.close(now=not is_drained)

    def _is_over(self) -> bool:
        is_busy = any(post.job is not None for post in self._posts.values())
        if self._stop:
            return self._stop == "now" or not is_busy
        return self._is_fed and not self._schedule.waiting_count and not is_busy

    def _feed(self, feed: Iterator[Trial]) -> None:
        """Some more of the plan: the first trials run while the last ones are still thought about."""
        if self._is_fed or self._stop or self._schedule.waiting_count >= LOOKAHEAD:
            return
        count = 0
        for trial in itertools.islice(feed, FEED):
            self._schedule.add(trial)
            count += 1
        self._is_fed = count < FEED

    def _say_that_it_drains(self) -> Iterator[Event]:
        """Once; whoever stopped it sees at once what is still waited for."""
        if self._stop != "drain" or self._has_said_so:
            return
        self._has_said_so = True
        count = sum(post.job is not None for post in self._posts.values())
        running = "the trial that runs" if count == 1 else f"the {count} trials that run"
        yield Note(f"finishing {running}, then it ends; a second Ctrl-C (or SIGTERM) stops at once")

    def _release_devices(self) -> None:
        """Who has got a device and has nothing to do on it gives it back: another run may wait for it."""
        for post in self._posts.values():
            if post.state == "idle" and post.holds_device:
                post.holds_device = False
                self._transport.send(post.slot.name, RELEASE)

    def _start_first(self, trial_count: int) -> None:
        for post in itertools.islice(self._posts.values(), max(1, trial_count)):
            self._start(post)

    def _start(self, post: Post) -> None:
        self._enter(post, "starting")
        post.deadline, post.refusal, post.origin = post.since + START_SECONDS, "", None
        self._transport.start(post.slot)

    def _assign(self) -> Iterator[Event]:
        if self._stop:
            return
        for post in self._posts.values():
            if not self._schedule.waiting_count:
                return
            if post.state == "down":
                yield from self._restart(post)
            if post.state == "idle" and (job := self._schedule.take(post.slot.name)):
                if self._is_used_by_another(post, job):
                    self._schedule.put_back(job)
                    self._enter(post, "retiring")
                    self._transport.kill(post.slot.name)
                else:
                    yield self._dispatch(post, job)
        if all(post.state == "abandoned" for post in self._posts.values()):
            reasons = {post.refusal: None for post in self._posts.values()}
            raise DeviceError(f"no worker could start after {START_LIMIT} tries per slot: {'; '.join(reasons)}")

    def _restart(self, post: Post) -> Iterator[Event]:
        if post.failed_starts < START_LIMIT:
            return self._start(post)
        self._enter(post, "abandoned")
        yield Note(
            f"{post.slot.name} is given up: {START_LIMIT} workers died before they began a trial: {post.refusal}"
        )

    def _is_used_by_another(self, post: Post, job: Job) -> bool:
        return self._origin_of is not None and post.origin not in (None, self._origin_of(job.trial))

    def _dispatch(self, post: Post, job: Job) -> Event:
        self._enter(post, "busy")
        post.job = job
        post.holds_device = False  # the worker gives it back after the trial
        post.origin = self._origin_of(job.trial) if self._origin_of is not None else None
        self._transport.send(post.slot.name, encode(Order(job.trial, job.attempt, job.batch_halved)))
        return Started(job.trial, post.slot.name, job.attempt)

    def _enter(self, post: Post, state: State) -> None:
        post.state, post.since, post.since_utc = state, self._clock(), datetime.now(UTC).isoformat()
        post.deadline, post.is_overdue, post.has_begun, post.is_silent = None, False, False, False
        post.last_sign = post.since

    def _patience(self) -> float | None:
        """Seconds until something must be looked at without being told."""
        if not self._is_fed and not self._stop and self._schedule.waiting_count < LOOKAHEAD:
            return 0.0
        times = [post.deadline for post in self._posts.values() if post.deadline is not None]
        times += [post.last_sign + SILENCE_SECONDS for post in self._posts.values() if self._may_fall_silent(post)]
        return max(0.0, min(times) - self._clock()) if times else None

    def _may_fall_silent(self, post: Post) -> bool:
        return post.state == "busy" and not post.is_silent

    def _look_at_the_clock(self) -> Iterator[Event]:
        now = self._clock()
        for post in self._posts.values():
            if post.deadline is not None and now >= post.deadline:
                post.is_overdue, post.deadline = True, None
                self._transport.kill(post.slot.name)
            if self._may_fall_silent(post) and now >= post.last_sign + SILENCE_SECONDS:
                post.is_silent = True
                yield Note(f"{post.slot.name} gave no sign of life for {SILENCE_SECONDS:.0f} s: a long call in C code?")

    def _handle(self, happening: Happening) -> Iterator[Event]:
        post = self._posts[happening.slot]
        if isinstance(happening, Exited):
            yield from self._exited(post, happening)
            return
        post.last_sign, post.is_silent = self._clock(), False
        try:
            report = decode(happening.line, Report)
        except msgspec.DecodeError as error:
            yield from self._garbled(post, error)
        else:
            yield from self._reported(post, report)

    def _reported(self, post: Post, report: Report) -> Iterator[Event]:
        match report.kind:
            case "ready":
                post.host = report.host
                self._enter(post, "idle")
                yield WorkerStarted(post.slot.name, post.slot.device, report.pid)
            case "refused":
                post.refusal = report.text
            case "waiting" if post.job is not None:
                yield from self._has_to_wait(post, post.job, report.text)
            case "holding":
                self._enter(post, "idle")
                post.holds_device = True
                yield Waiting(post.slot.name, "")
            case "begun" if post.job is not None:
                post.has_begun, post.failed_starts = True, 0
                post.deadline = None if self._timeout_seconds is None else self._clock() + self._timeout_seconds
            case "progress" if post.job is not None:
                yield Progress(post.slot.name, post.job.trial.id, report.text, report.fraction)
            case "note":
                yield Note(f"{post.slot.name}: {report.text}")
            case "result" if report.result is not None and post.job is not None:
                yield from self._answered(post, post.job, report.result, report.is_spent)

    def _has_to_wait(self, post: Post, job: Job, text: str) -> Iterator[Event]:
        """Its trial goes back, and its network with it, to whoever has a device first."""
        post.job = None
        self._enter(post, "waiting")
        self._schedule.leave(post.slot.name)
        self._schedule.put_back(job)
        yield Waiting(post.slot.name, text)
        if post.noted_wait is None or self._clock() - post.noted_wait >= WAIT_NOTE_SECONDS:
            post.noted_wait = self._clock()
            yield Note(f"{post.slot.name}: {text}: waiting for it")

    def _answered(self, post: Post, job: Job, result: Result, is_spent: bool = False) -> Iterator[Event]:
        if result.trial.id != job.trial.id:
            result = invalid(job.trial, f"trial: asked for {job.trial.id}, got {result.trial.id}")
        self._enter(post, "idle")
        if is_spent or result.status == "oom" or "CUDA error" in f"{result.reason}{result.detail}":
            # What such a worker has left of its device, or of what trials share, is nothing to measure on.
            self._enter(post, "retiring")
            self._transport.kill(post.slot.name)
        yield from self._conclude(post, job, result)

    def _garbled(self, post: Post, error: msgspec.DecodeError) -> Iterator[Event]:
        if post.job is not None:
            result = invalid(post.job.trial, complaint(error))
            self._enter(post, "retiring")
            self._transport.kill(post.slot.name)
            yield from self._conclude(post, post.job, result)

    def _conclude(self, post: Post, job: Job, result: Result) -> Iterator[Event]:
        post.job = None
        again = self._schedule.settle(job, result.status)
        if again is None:
            yield Finished(dataclasses.replace(result, trial=job.trial, attempt=job.attempt), post.slot.name)
        else:
            label = job.trial.method.label
            yield Note(f"{label} ended {result.status} ({result.reason}); it is tried again in a fresh worker")

    def _exited(self, post: Post, exited: Exited) -> Iterator[Event]:
        state, job, has_begun, result = post.state, post.job, post.has_begun, None
        if state == "starting" or (job is not None and not has_begun):
            post.failed_starts += 1
            late = f"not ready after {START_SECONDS:.0f} s" if post.is_overdue else ""
            post.refusal = post.refusal or late or f"{exited.reason} {_last_line(exited.tail)}".strip()
        elif job is not None:
            result = self._death_certificate(post, job, exited)
        post.job = None
        self._enter(post, "down")
        self._schedule.leave(post.slot.name)  # what was warm there is lost, and a new worker may be long in coming
        if state != "retiring":
            told = result.reason if result is not None else exited.reason
            yield WorkerLost(post.slot.name, post.refusal if state == "starting" else told)
        if job is not None and result is not None:
            yield from self._conclude(post, job, result)
        elif job is not None:
            self._schedule.put_back(job)

    def _death_certificate(self, post: Post, job: Job, exited: Exited) -> Result:
        status: Status = "oom" if any(words in exited.tail for words in OUT_OF_MEMORY) else "killed"
        reason = exited.reason
        if post.is_overdue:
            status, reason = "timeout", f"killed after {self._timeout_seconds:g} s, the time limit per trial"
        return Result(
            job.trial,
            status,
            reason,
            detail=exited.tail,
            provenance=Provenance(host=post.host, device=post.slot.device, threads=post.slot.threads),
            started_at=post.since_utc,
            seconds=self._clock() - post.since,
        )


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2]
