"""Calls with many options: each option is a field of one record, and the call's signature shows them all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from prunebench.grid.grid import TRIAL_LIMIT

DEFAULT_DB = Path("runs") / "results.duckdb"
F = TypeVar("F", bound=Callable[..., Any])


def taking(record: type[Any]) -> Callable[[F], F]:
    """Decorates a function that makes a `record` of its `**options`: `help()` shows the record's fields by name."""

    def with_fields(function: F) -> F:
        own = inspect.signature(function)
        named = [item for item in own.parameters.values() if item.kind is not item.VAR_KEYWORD]
        fields = [
            item.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for item in inspect.signature(record).parameters.values()
            if item.name not in own.parameters
        ]
        function.__signature__ = own.replace(parameters=[*named, *fields])  # type: ignore[attr-defined]
        return function

    return with_fields


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a grid is run: where its results go, what runs them, what is run again and who is told."""

    db: str | Path = DEFAULT_DB
    devices: str = "auto"  # as of `bench run --devices`
    executor: Literal["local", "ray"] = "local"
    address: str | None = None  # of a Ray cluster
    gpu_share: float = 1.0  # GPUs per Ray worker
    scale: str | None = None  # of a paper
    limit: int = TRIAL_LIMIT  # of the trials of a grid
    retry: tuple[str, ...] = ()  # statuses that are run again
    timeout_seconds: float | None = None  # per trial; None for the grid's own
    isolate: bool = False  # a worker for each third-party distribution
    plugin_files: tuple[Path, ...] = ()
    disabled: tuple[str, ...] = ()
    data_dir: Path | None = None
    report: bool = True  # write the page at the end
    on_plan: Callable[[Any], None] = lambda prepared: None
    on_event: Callable[[Any], None] = lambda event: None

    @property
    def planning(self) -> dict[str, Any]:
        """What `prepare` takes of them."""
        names = ("db", "scale", "limit", "retry", "plugin_files", "disabled", "data_dir")
        return {name: getattr(self, name) for name in names}
