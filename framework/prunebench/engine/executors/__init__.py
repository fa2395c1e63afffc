"""Who runs the trials: worker processes on this machine, or on the machines of a Ray cluster.

`make_executor` is the one door; both kinds share the scheduling (`schedule`), the supervision (`supervisor`) and the
worker process itself, so that a fault ends the same way on a laptop and on a cluster.
"""

from __future__ import annotations

from typing import Literal

from prunebench.engine.executors.events import (
    RETRIES,
    Event,
    Executor,
    Finished,
    Note,
    Progress,
    RetryPolicy,
    Slot,
    Started,
    Waiting,
    WorkerLost,
    WorkerStarted,
    WorkSettings,
)

RUNNER = "prunebench.trial.runner:open_workbench"

__all__ = [
    "RETRIES",
    "RUNNER",
    "Event",
    "Executor",
    "Finished",
    "Note",
    "Progress",
    "RetryPolicy",
    "Slot",
    "Started",
    "Waiting",
    "WorkSettings",
    "WorkerLost",
    "WorkerStarted",
    "make_executor",
]


def make_executor(
    kind: Literal["local", "ray"],
    devices: str,
    settings: WorkSettings,
    retries: RetryPolicy = RETRIES,
    *,
    runner: str = RUNNER,
    address: str | None = None,
    gpu_fraction: float = 1.0,
) -> Executor:
    """An executor of `kind` over `devices` ("auto", "cpu", "cpu:4", "cuda", "cuda:0,cuda:1").

    `address` and `gpu_fraction` (GPUs per worker) are for Ray; `address` None starts a cluster on this machine.
    Raises `DeviceError` for devices that are not there, or where no cluster answers.
    """
    if kind == "ray":
        from prunebench.engine.executors.cluster import ClusterExecutor

        return ClusterExecutor(devices, settings, retries, runner, address=address, gpu_fraction=gpu_fraction)
    from prunebench.engine.executors.devices import resolve
    from prunebench.engine.executors.local import LocalExecutor

    return LocalExecutor(resolve(devices, settings.threads_per_slot), settings, retries, runner)
