"""Whether there is memory enough to begin a trial: on the host, and on the card of a CUDA slot."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

LEAST_BYTES = 2**30  # or a twentieth of what there is, if that is less
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Memory:
    """One kind of it, now."""

    where: str  # "memory", "memory on cuda:0"
    free_bytes: int
    total_bytes: int

    @property
    def is_short(self) -> bool:
        """Whether hardly any is left."""
        return self.free_bytes < min(LEAST_BYTES, self.total_bytes // 20)


def await_memory(device: str, tell: Callable[[str], None]) -> None:
    """Give other programs up to a minute to free what is short; `tell` of it once. Then the trial tries its luck."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    has_told = False
    while short := [memory for memory in memory_now(device) if memory.is_short]:
        if not has_told:
            said = " and ".join(f"{memory.free_bytes / 2**20:.0f} MB of {memory.where}" for memory in short)
            tell(f"only {said} are free: waiting up to a minute")
            has_told = True
        if time.monotonic() > deadline:
            return
        time.sleep(LOOK_SECONDS)


def memory_now(device: str) -> list[Memory]:
    """That of the host, and of the card where `device` is one."""
    host = psutil.virtual_memory()
    return [Memory("memory", host.available, host.total), *card_memory(device)]


def card_memory(device: str) -> list[Memory]:
    """That of a CUDA device, where the runner has loaded torch; a card without room for a context has none."""
    if not device.startswith("cuda") or "torch" not in sys.modules:
        return []
    import torch

    from prunebench.measure.latency.faults import is_lack_of_memory
    from prunebench.measure.memory import free_and_total_bytes

    try:
        return [Memory(f"memory on {device}", *free_and_total_bytes(torch.device(device)))]
    except RuntimeError as error:
        is_full = is_lack_of_memory(error)  # else the trial says what is wrong
        return [Memory(f"memory on {device}", 0, LEAST_BYTES)] if is_full else []
