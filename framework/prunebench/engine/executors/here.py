"""Trials in this process, one after another: for networks that live in a notebook or a script, and nowhere else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from prunebench.engine.executors.events import Event, Finished, Started, WorkerStarted
from prunebench.records import Result, Trial

SLOT = "here"


class HereExecutor:
    """Hands each trial to `run_trial`; what kills this process kills the run, and the next call goes on from there."""

    def __init__(self, run_trial: Callable[[Trial], Result], device: str = "cpu") -> None:
        self._run_trial, self._device = run_trial, device
        self._is_stopped = self._is_running = False

    def run(self, trials: Iterable[Trial]) -> Iterator[Event]:
        """One `Finished` per trial, until it is stopped."""
        import os

        yield WorkerStarted(SLOT, self._device, os.getpid())
        for trial in trials:
            if self._is_stopped:
                return
            yield Started(trial, SLOT, 1)
            yield Finished(dataclasses.replace(self._result(trial), attempt=1), SLOT)

    def _result(self, trial: Trial) -> Result:
        self._is_running = True
        try:
            return self._run_trial(trial)
        finally:
            self._is_running = False

    def isolate(self, origin_of: Callable[[Trial], str]) -> None:
        """There is one process: nothing to keep apart."""

    def stop(self, now: bool = False) -> None:
        """Begin no further trial; with `now`, from a signal's handler, break off the one under way."""
        self._is_stopped = True
        if now and self._is_running:
            raise KeyboardInterrupt
