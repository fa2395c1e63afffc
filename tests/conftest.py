"""Shared by all tests: every test's locks, caches and databases lie in its own temporary folder."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: a core each

import pytest

for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    signal.signal(number, handler)  # what `nohup … &` leaves ignored, tests and what they start would not hear

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "benchmarks")]
os.environ["PRUNEBENCH_LOCKS"] = tempfile.mkdtemp(prefix="prunebench-locks-")  # no test waits for a run beside it
atexit.register(shutil.rmtree, os.environ["PRUNEBENCH_LOCKS"], ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` are skipped where torch sees no card."""
    if item.get_closest_marker("gpu") and not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("no CUDA device here")


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the user's data, database or disabled plugins."""
    for name in ("PRUNEBENCH_DB", "PRUNEBENCH_DATA", "PRUNEBENCH_DISABLE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
