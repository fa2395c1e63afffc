"""What tests of clocks share."""

from __future__ import annotations

import pytest
from fake_time import FakeTime
from prunebench.measure.latency import pairs, schedule


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    made = FakeTime()
    for module in (pairs, schedule):
        monkeypatch.setattr(module, "time", made)
    return made
