"""A clock that tells what is known, so that no test depends on the machine."""

from __future__ import annotations


class FakeTime:
    """Stands for the module `time`: every look at the clock takes a microsecond, a block what its clock says."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
