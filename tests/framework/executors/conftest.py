from __future__ import annotations

from pathlib import Path

import pytest
from executor_toys import ONCE, RUNNER, Make, cpu, work_settings
from prunebench.executors import Executor, RetryPolicy
from prunebench.executors.local import LocalExecutor


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A local executor over the toy runner."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def make(slots: int = 1, retries: RetryPolicy = ONCE, **settings: object) -> Executor:
        return LocalExecutor(cpu(slots), work_settings(tmp_path, settings), retries, RUNNER)

    return make


@pytest.fixture(params=["local"])
def executor(request: pytest.FixtureRequest) -> Make:
    """Both kinds of executor."""
    made: Make = request.getfixturevalue(request.param)
    return made
