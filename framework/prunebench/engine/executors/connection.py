"""Finding a Ray cluster, or saying within seconds that there is none."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prunebench.errors import DeviceError

CONNECT_SECONDS = 10.0  # until we say that nobody is there
CURRENT_CLUSTER = Path("ray") / "ray_current_cluster"  # what `ray start` leaves in its temporary folder


def connect(address: str | None) -> str:
    """Join the cluster at `address` ("auto", "host:port"), or start one here for None; where its head listens.

    Raises `DeviceError`: Ray is not installed, or nobody answers within ten seconds, or of another version.
    """
    # Read when Ray is imported or started: nothing is sent to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        ray = the_ray()
    except ImportError:
        raise DeviceError("Ray is not installed: pip install 'prunebench[cluster]'") from None
    head = None if address is None else answering(located(address))
    try:
        context = ray.init(
            address=head or "local",
            include_dashboard=None if head else False,
            log_to_driver=False,
            logging_level="error",
        )
    except Exception as error:  # Ray raises bare ones, as where its node takes more than its half minute to start
        lines = [line for line in str(error).splitlines() if line.strip()]
        where = f"cannot join the Ray cluster at {head}" if head else "Ray does not start on this machine"
        raise DeviceError(f"{where}: {' '.join(lines)[:400]}") from None
    return head or str(context.address_info["gcs_address"])


def the_ray() -> Any:
    """Ray, imported when a cluster is wanted; untyped, as most of it is."""
    return importlib.import_module("ray")


def located(address: str) -> str:
    """`host:port` of the head."""
    if address != "auto":
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isdecimal():
            raise DeviceError(
                f"cannot read the address {address!r}: give auto, or host:port of the head, such as 10.0.0.1:6379"
            )
        return address
    known = os.environ.get("RAY_ADDRESS")
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / CURRENT_CLUSTER
    if not known and file.exists():
        known = file.read_text().strip()
    if not known:
        raise DeviceError(
            "no Ray cluster runs on this machine: start one with `ray start --head`, or give its host:port"
        )
    return known


def answering(head: str) -> str:
    """`head`, once a Ray of our version has answered there."""
    deadline = time.monotonic() + CONNECT_SECONDS
    if not is_reachable(head, CONNECT_SECONDS):
        raise nobody(head)
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", head]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, timeout=max(1.0, deadline - time.monotonic()), check=False
        )
    except subprocess.TimeoutExpired:
        raise nobody(head) from None
    said = f"{asked.stdout}{asked.stderr}".strip()
    if asked.returncode and "oken" in said:
        raise DeviceError(f"the Ray cluster at {head} refuses our token: set RAY_AUTH_TOKEN to the one of its head")
    if asked.returncode:
        raise DeviceError(f"no Ray cluster answers at {head}: {said.splitlines()[-1] if said else 'it is unhealthy'}")
    return head


def nobody(head: str) -> DeviceError:
    """The one line."""
    return DeviceError(f"no Ray cluster answers at {head} within {CONNECT_SECONDS:.0f} s: is it running and reachable?")


def is_reachable(head: str, seconds: float) -> bool:
    """Whether something listens there."""
    host, _, port = head.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds):
            return True
    except OSError:
        return False
