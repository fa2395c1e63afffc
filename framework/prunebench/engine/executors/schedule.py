"""Which trial a free slot runs next: pure bookkeeping, no process, no clock.

Trials of one dense network form a group, and a group stays in one slot, where its checkpoint, its data and its shared
decompositions are warm. Until the first trial of a group has come back no other slot may touch it, so no network is
trained twice at once; from then on slots with nothing else to do help out where most is left. Where fewer networks wait
to be trained than there are slots, they are trained before the trials of others go on: else slots would have nothing to
do while the last one is.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field

from prunebench.engine.executors.events import RETRIES, RetryPolicy
from prunebench.records import Status, Trial


@dataclass(slots=True)
class Job:
    """One attempt at a trial."""

    trial: Trial
    attempt: int = 1
    killed_count: int = 0
    batch_halved: bool = False


@dataclass(slots=True, eq=False)
class Group:
    """The trials of one dense network that wait, and how many slots are at it."""

    network_id: str
    waiting: deque[Job] = field(default_factory=deque)
    slot_count: int = 0
    is_queued: bool = False  # in line for a first slot

    @property
    def is_trained_first(self) -> bool:
        """Whether the first of its trials trains the network, by the protocol."""
        return self.waiting[0].trial.protocol.train.trains


class Schedule:
    """Trials in, jobs out: `take` for a free slot, `settle` when it has ended."""

    def __init__(self, retries: RetryPolicy = RETRIES) -> None:
        self.retries = retries
        self.waiting_count = 0
        self._groups: dict[str, Group] = {}  # network id -> what waits or is worked on; others are forgotten
        self._trained: set[str] = set()  # networks that are there: any slot may help
        self._queue: deque[Group] = deque()  # groups that no slot is at, in the order of the plan
        self._at: dict[str, Group] = {}  # slot -> the group it works on

    def add(self, trial: Trial) -> None:
        """One more trial, behind those of its group."""
        group = self._group_of(trial)
        group.waiting.append(Job(trial))
        self.waiting_count += 1
        self._enqueue(group)

    def take(self, slot: str) -> Job | None:
        """The next job for a free slot: of its own group, else of a new one, else of the one where most is left."""
        if not self.waiting_count:
            return None
        group = self._at.get(slot)
        if group is None or not group.waiting:
            group = self._from_queue() or self._to_help()
        elif group.network_id in self._trained:
            group = self._one_of_the_last_to_train() or group
        if group is None:
            return None
        self._move(slot, group)
        self.waiting_count -= 1
        return group.waiting.popleft()

    def settle(self, job: Job, status: Status) -> Job | None:
        """The next attempt, put back in line, when `status` deserves one; None when that was the last."""
        if status in ("ok", "skipped", "failed"):
            # A worker that answered has got past the training; one that died may have died in it.
            self._trained.add(job.trial.network_id)
        again = self._next_attempt(job, status)
        if again is not None:
            self.put_back(again)
        return again

    def put_back(self, job: Job) -> None:
        """A job that nobody has begun, first in line again."""
        group = self._group_of(job.trial)
        group.waiting.appendleft(job)
        self.waiting_count += 1
        self._enqueue(group, first=True)

    def leave(self, slot: str) -> None:
        """The slot is gone: its group is anybody's."""
        group = self._at.pop(slot, None)
        if group is not None:
            group.slot_count -= 1
            self._enqueue(group, first=True)
            if not group.slot_count and not group.waiting:
                del self._groups[group.network_id]

    def _group_of(self, trial: Trial) -> Group:
        """The one that waits or is worked on, else a new one."""
        if trial.network_id not in self._groups:
            self._groups[trial.network_id] = Group(trial.network_id)
        return self._groups[trial.network_id]

    def _next_attempt(self, job: Job, status: Status) -> Job | None:
        if status == "killed" and job.killed_count < self.retries.killed:
            return Job(job.trial, job.attempt + 1, job.killed_count + 1, job.batch_halved)
        if status == "oom" and self.retries.oom and not job.batch_halved:
            return Job(job.trial, job.attempt + 1, job.killed_count, batch_halved=True)
        return None

    def _enqueue(self, group: Group, first: bool = False) -> None:
        if group.slot_count or group.is_queued or not group.waiting:
            return
        group.is_queued = True
        if first:
            self._queue.appendleft(group)
        else:
            self._queue.append(group)

    def _from_queue(self) -> Group | None:
        if not self._queue:
            return None
        group = self._queue.popleft()
        group.is_queued = False
        return group

    def _one_of_the_last_to_train(self) -> Group | None:
        """The first in line that has yet to be trained, where those are fewer than the slots at work."""
        to_train = (group for group in self._queue if group.network_id not in self._trained and group.is_trained_first)
        first = list(itertools.islice(to_train, len(self._at)))
        if not first or len(first) == len(self._at):
            return None
        self._queue.remove(first[0])
        first[0].is_queued = False
        return first[0]

    def _to_help(self) -> Group | None:
        """Of the trained networks that slots are at, the one with the most trials waiting for each slot."""
        trained = [group for group in self._at.values() if group.waiting and group.network_id in self._trained]
        return max(trained, key=lambda group: len(group.waiting) / group.slot_count, default=None)

    def _move(self, slot: str, group: Group) -> None:
        if self._at.get(slot) is group:
            return
        self.leave(slot)
        self._at[slot] = group
        group.slot_count += 1
