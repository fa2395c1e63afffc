"""Shared by all tests: every test's locks, caches and databases lie in its own temporary folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the user's data, database or disabled plugins."""
    for name in ("PRUNEBENCH_DB", "PRUNEBENCH_DATA", "PRUNEBENCH_DISABLE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
