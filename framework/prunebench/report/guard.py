"""The border around charts that others wrote: whatever goes wrong in one is a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prunebench.errors import PluginError, PruneBenchError, said
from prunebench.writing import printable

T = TypeVar("T")


def guarded(name: str, make: Callable[[], T]) -> T:
    """`make()`; whatever the chart called `name` raises in it is a PluginError of one line."""
    try:
        return make()
    except Exception as error:  # the border: a plugin's chart may raise anything
        text = printable(said(error), 300)
        kind = "" if isinstance(error, PruneBenchError) else f"{type(error).__name__}: "
        raise PluginError(f"chart {name} could not be drawn: {kind}{text}") from error
