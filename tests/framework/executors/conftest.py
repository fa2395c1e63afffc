from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prunebench.executors import Event, Finished, RetryPolicy, Slot, WorkSettings
from prunebench.executors.local import LocalExecutor
from prunebench.records import Choice, Protocol, Result, Trial

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


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LocalExecutor]:
    """A local executor over the toy runner."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")

    def make(slots: int = 1, retries: RetryPolicy = RetryPolicy(0, 0), **settings: object) -> LocalExecutor:
        given = {"data_dir": str(tmp_path), "checkpoints": str(tmp_path), "log_dir": str(tmp_path / "logs"), **settings}
        return LocalExecutor(cpu(slots), WorkSettings(**given), retries, RUNNER)  # type: ignore[arg-type]

    return make
