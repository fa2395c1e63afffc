"""Faults 79 to 85: a Ray cluster. Those that need nodes are tests of the executors; here is what needs none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from numbered import fault

pytest.importorskip("ray", reason="Ray is not installed: pip install 'prunebench[cluster]'")

from prunebench.engine.executors import connection
from prunebench.errors import DeviceError


@fault(84, "a cluster that answers InvalidAuthToken", "one line that names RAY_AUTH_TOKEN")
def test_a_wrong_token_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.CompletedProcess([], 1, "", "InvalidAuthToken: the token is not the one of this cluster")
    monkeypatch.setattr(connection, "is_reachable", lambda head, seconds: True)
    monkeypatch.setattr(subprocess, "run", lambda *given, **more: said)
    with pytest.raises(DeviceError, match="refuses our token: set RAY_AUTH_TOKEN to the one of its head"):
        connection.answering("10.0.0.1:6379")


@fault(85, "a note of a cluster that is long gone", "within seconds: no Ray cluster answers there")
def test_a_stale_note_of_a_cluster_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1\n")
    with pytest.raises(DeviceError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 within 10 s"):
        connection.connect("auto")


def test_nothing_is_told_to_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    with pytest.raises(DeviceError, match="cannot read the address"):
        connection.connect("nonsense")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@fault(85, "a machine too busy for Ray to start in its half minute", "one line that says so")
def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**given: object) -> None:
        raise Exception("The current node timed out during startup.\n")  # as Ray does

    monkeypatch.setattr(connection, "the_ray", lambda: SimpleNamespace(init=init))
    with pytest.raises(DeviceError, match=r"^Ray does not start on this machine: The current node timed out"):
        connection.connect(None)
