"""Which slots a Ray cluster has; what it could never give is refused, where Ray itself would wait for ever."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.engine.executors.connection import the_ray
from prunebench.engine.executors.devices import slot_count
from prunebench.engine.executors.events import Slot
from prunebench.errors import DeviceError

SPELLING = "on a cluster, devices are auto, cuda, cpu or cpu:N for N workers: Ray chooses the cards"


def cluster_slots(devices: str, threads: int | None, gpu_fraction: float) -> tuple[tuple[Slot, ...], dict[str, float]]:
    """The slots and what each needs of Ray; raises `DeviceError` for what the cluster could never give."""
    nodes = living_nodes()
    cards = sum(node.get("GPU", 0.0) for node in nodes)
    wanted = devices.strip().lower()
    if wanted == "auto":
        wanted = "cuda" if cards else "cpu"
    if wanted == "cuda":
        return card_slots(nodes, gpu_fraction, threads)
    if wanted.partition(":")[0] != "cpu":
        raise DeviceError(f"cannot read devices {devices!r}: {SPELLING}")
    cores = [int(node.get("CPU", 0.0)) for node in nodes]
    asked = slot_count(wanted)
    each = threads or 1
    places = place_count(cores, each)
    count = asked or places
    if not 1 <= count <= places:
        raise DeviceError(
            f"{count} workers with {each} core{'s' * (each > 1)} each are asked for, the cluster has room for {places}"
        )
    return tuple(Slot(f"cpu:{i}", "cpu", visible="", threads=each) for i in range(count)), {"num_cpus": each}


def place_count(cores: Sequence[int], each: int) -> int:
    """Workers of `each` cores for which the nodes have room."""
    return sum(node // each for node in cores)


def card_slots(
    nodes: Sequence[dict[str, float]], fraction: float, threads: int | None
) -> tuple[tuple[Slot, ...], dict[str, float]]:
    """A slot for every `fraction` of a card; several workers on one card share its memory and take turns at timing."""
    if fraction <= 0 or (fraction > 1 and fraction != int(fraction)):
        raise DeviceError(f"a worker takes a fraction of a GPU or whole GPUs, got {fraction:g}: give 0.5, 1 or 2")
    room = [node.get("GPU", 0.0) for node in nodes]
    if fraction < 1:
        count = sum(int(cards) * int(1 / fraction + 1e-9) for cards in room)
    else:
        count = sum(int(cards // fraction) for cards in room)
    if not count:
        have = list(map(int, room))
        raise DeviceError(f"{fraction:g} GPUs per worker are asked for, the cluster's nodes have {have}")
    return tuple(Slot(f"cuda:{i}", "cuda:0", threads=threads or 1) for i in range(count)), {"num_gpus": fraction}


def living_nodes() -> list[dict[str, float]]:
    """The resources of each node."""
    return [node["Resources"] for node in the_ray().nodes() if node["Alive"]]
