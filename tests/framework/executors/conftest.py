from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_toys import ONCE, RUNNER, Make, cpu, work_settings
from prunebench.engine.executors import Executor, RetryPolicy
from prunebench.engine.executors.local import LocalExecutor


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A local executor over the toy runner."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)

    def make(slots: int = 1, retries: RetryPolicy = ONCE, **settings: object) -> Executor:
        return LocalExecutor(cpu(slots), work_settings(tmp_path, settings), retries, RUNNER)

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture(scope="session")
def one_node() -> Iterator[str]:
    """The address of a Ray cluster of one node."""
    pytest.importorskip("ray")
    from ray_cluster import Cluster

    cluster = Cluster(("--num-cpus=2", "--num-gpus=0"))
    yield cluster.address
    cluster.close()


@pytest.fixture
def on_ray(one_node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A cluster executor over the toy runner."""
    from prunebench.engine.executors.cluster import ClusterExecutor

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")

    def make(slots: int = 1, retries: RetryPolicy = ONCE, **settings: object) -> Executor:
        given = work_settings(tmp_path, {"threads_per_slot": 1, **settings})
        return ClusterExecutor(f"cpu:{slots}", given, retries, RUNNER, address=one_node)

    return make


@pytest.fixture(params=["local", pytest.param("on_ray", marks=pytest.mark.slow)])
def executor(request: pytest.FixtureRequest) -> Make:
    """Both kinds of executor."""
    made: Make = request.getfixturevalue(request.param)
    return made
