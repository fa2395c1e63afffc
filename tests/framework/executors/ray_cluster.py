"""Real Ray nodes on loopback, started and ended by a test; each in a session of its own, so that it can be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from prunebench.engine.executors.connection import is_reachable

HERE = Path(__file__).parent


class Node:
    """One `ray start --block`; node 1 is the head."""

    def __init__(self, number: int, port: int, folder: Path, *options: str) -> None:
        self.address = f"127.0.0.{number}"
        self.disk = folder / f"disk-{number}"  # what a relative path means there
        self.disk.mkdir()
        where = (
            ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
            if number == 1
            else [f"--address=127.0.0.1:{port}"]
        )
        common = [
            f"--node-ip-address={self.address}",
            "--disable-usage-stats",
            "--block",
            "--object-store-memory=100000000",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *where, *common, *options],
            env=environment(),
            cwd=self.disk,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def send(self, number: int) -> None:
        """A signal to every process of the node."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def family(self) -> list[psutil.Process]:
        """The node's processes."""
        try:
            head = psutil.Process(self.process.pid)
            return [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """As when the power fails."""
        self.send(signal.SIGKILL)
        self.process.wait()


class Cluster:
    """Nodes with cards that are only numbers to Ray."""

    def __init__(self, *options: tuple[str, ...]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.nodes = [Node(1, self.port, self.folder, *options[0])]
        until(lambda: is_reachable(self.address, 1.0), 40)
        self.nodes += [Node(number, self.port, self.folder, *more) for number, more in enumerate(options[1:], start=2)]
        until(lambda: self.node_count() == len(options), 60)

    def node_count(self) -> int:
        """Nodes that the head knows."""
        join = f"ray.init('{self.address}', logging_level='error')"
        code = f"import ray; {join}; print(sum(node['Alive'] for node in ray.nodes()))"
        asked = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=60, check=False
        )
        return int(asked.stdout.split()[-1]) if asked.stdout.strip() else 0

    def close(self) -> None:
        """End everything."""
        for node in reversed(self.nodes):
            node.send(signal.SIGCONT)
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def environment() -> dict[str, str]:
    """Where the toy runner is found; no token on loopback."""
    return {**os.environ, "PYTHONPATH": str(HERE), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(is_true, seconds: float) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.2)
