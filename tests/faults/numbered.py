"""The mark that ties a test to its line in docs/faults.md, and what the tests' fixtures are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Said:
    """What a call of `bench` left on the screen."""

    code: int
    out: str
    err: str


Bench = Callable[..., Said]
Refuses = Callable[..., None]


def fault(number: int, given: str, seen: str) -> pytest.MarkDecorator:
    """Fault or bad input `number`: what is given, and what the user sees; `tests/faults/table.py` reads these."""
    return pytest.mark.fault(number=number, given=given, seen=seen)
