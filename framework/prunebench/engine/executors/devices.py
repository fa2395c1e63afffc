"""Which slots a machine has, found out without importing torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from prunebench.engine.executors.events import Slot
from prunebench.errors import DeviceError
from prunebench.measure.latency.turn import made_folder

CPU_SLOTS = 32  # at most, when nobody says how many
BYTES_PER_SLOT = 2 * 2**30  # that a CPU worker should find free
DRIVER_FOLDER = Path("/proc/driver/nvidia/gpus")
SPELLING = "devices are auto, cpu, cpu:N for N slots, cuda, or cuda:0,cuda:1"


def resolve(devices: str, threads_per_slot: int | None = None) -> tuple[Slot, ...]:
    """The slots that `devices` names; raises `DeviceError` for what is not there or named twice."""
    wanted = devices.strip().lower()
    if wanted == "auto":
        wanted = "cuda" if has_cuda_build() and visible_cards() else "cpu"
    if wanted.partition(":")[0] == "cpu":
        return cpu_slots(slot_count(wanted), threads_per_slot)
    return cuda_slots(wanted, threads_per_slot)


def cpu_slots(count: int | None, threads_per_slot: int | None = None) -> tuple[Slot, ...]:
    """`count` slots of one thread each, if no other number is given; all runs of this host draw on the same places."""
    cores = core_count()
    if count is None:
        count = max(1, min(cores // (threads_per_slot or 1), CPU_SLOTS, roomy_slot_count()))
    threads = threads_per_slot or 1
    places = max(count, cores // threads)
    names = [lease(f"slot-cpu-{place}") for place in range(places)]
    return tuple(
        Slot(f"cpu:{index}", "cpu", visible="", threads=threads, leases=(*names[index:], *names[:index]))
        for index in range(count)
    )


def cuda_slots(wanted: str, threads_per_slot: int | None = None) -> tuple[Slot, ...]:
    """A slot for every card that is visible, or for those that are named."""
    cards = visible_cards()
    indices = list(range(len(cards))) if wanted == "cuda" else [card_index(part) for part in wanted.split(",")]
    if len(set(indices)) < len(indices):
        twice = next(index for index in indices if indices.count(index) > 1)
        raise DeviceError(f"cuda:{twice} is named twice in {wanted!r}: name every device once")
    if not has_cuda_build():
        raise DeviceError(
            f"torch {metadata.version('torch')} is built without CUDA: install another, or use --devices cpu"
        )
    if not indices or max(indices) >= len(cards):
        there = ", ".join(f"cuda:{index}" for index in range(len(cards))) or "none"
        raise DeviceError(f"{wanted!r} is not there; CUDA devices on this machine: {there}; or use --devices cpu")
    return tuple(cuda_slot(index, cards[index], threads_per_slot or 1) for index in indices)


def cuda_slot(index: int, card: str, threads: int) -> Slot:
    """The slot of one card: its worker sees that card alone, as cuda:0."""
    return Slot(f"cuda:{index}", "cuda:0", visible=card, threads=threads, leases=(lease(f"slot-cuda-{card}"),))


def card_index(part: str) -> int:
    """The number in `cuda:3`."""
    kind, _, number = part.strip().partition(":")
    if kind != "cuda" or not number.isdecimal():
        raise DeviceError(f"cannot read device {part.strip()!r}: {SPELLING}")
    return int(number)


def slot_count(wanted: str) -> int | None:
    """The N of `cpu:N`, None for `cpu`."""
    _, colon, number = wanted.partition(":")
    if not colon:
        return None
    if not number.isdecimal() or not 1 <= int(number) <= 1024:
        raise DeviceError(f"cannot read {wanted!r}: cpu:N takes a number of slots from 1 to 1024; {SPELLING}")
    return int(number)


def has_cuda_build() -> bool:
    """Whether the installed torch may know CUDA, by the label of its version."""
    return not metadata.version("torch").endswith("+cpu")


def visible_cards() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name: what it names now, else every card by its number on the bus."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [card.strip() for card in given.split(",") if card.strip() and card.strip() != "-1"]
    return [str(index) for index in range(card_count())]


def card_count() -> int:
    """NVIDIA cards in this machine, by the driver's tool or its folder in /proc."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        try:
            listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=True)
            return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
        except (OSError, subprocess.SubprocessError):
            pass
    return len(list(DRIVER_FOLDER.iterdir())) if DRIVER_FOLDER.is_dir() else 0


def core_count() -> int:
    """Physical cores that this process may use, by affinity and by the container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed, quota_cores()))


def quota_cores(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Whole cores that the control group grants; many where there is no limit."""
    try:
        quota, period = path.read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return 2**16


def roomy_slot_count() -> int:
    """CPU workers for which there is memory now."""
    return int(max(1, psutil.virtual_memory().available // BYTES_PER_SLOT))


def lease(name: str) -> str:
    """The lock file by which runs on this host share a place."""
    folder = made_folder()
    safe = "".join(c if c.isalnum() else "-" for c in name)  # a part of a card is called MIG-…/1/2
    return str(folder / f"{safe}.lock")
