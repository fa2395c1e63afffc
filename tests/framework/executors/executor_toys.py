"""Toy trials and slots for the tests of executors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prunebench.engine.executors import Event, Executor, Finished, RetryPolicy, Slot, WorkSettings
from prunebench.records import Choice, Protocol, Result, Trial

ONCE = RetryPolicy(0, 0)
RUNNER = "toy_runner:open_workbench"


def toy(use: str, network: int = 0, **params: object) -> Trial:
    """A trial of the toy runner's method `use`."""
    return Trial(Choice("toys"), Choice("net", {"width": network}), Choice(use, params), 0, Protocol())  # type: ignore


def cpu(count: int) -> tuple[Slot, ...]:
    return tuple(Slot(f"cpu:{index}", "cpu", visible="") for index in range(count))


def results(events: Iterable[Event]) -> dict[str, Result]:
    """What finished, by the method's label; fails when a trial finishes twice."""
    found: dict[str, Result] = {}
    for event in events:
        if isinstance(event, Finished):
            assert event.result.trial.id not in {result.trial.id for result in found.values()}
            found[f"{event.result.trial.method.label}@{event.result.trial.model.params['width']}"] = event.result
    return {label.removesuffix("@0"): result for label, result in found.items()}


Make = Callable[..., Executor]


def work_settings(folder: Path, given: dict[str, object]) -> WorkSettings:
    defaults = {"data_dir": str(folder), "checkpoints": str(folder), "log_dir": str(folder / "logs")}
    return WorkSettings(**{**defaults, **given})  # type: ignore[arg-type]


def is_gone(pid: int, within_seconds: float = 2.0) -> bool:
    """Whether the process ends in time; who adopts an orphan may take a moment to bury it."""
    end = time.monotonic() + within_seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False
