from __future__ import annotations

from pathlib import Path

import pytest
from prunebench.engine.executors import cluster_slots as module
from prunebench.engine.executors.cluster_slots import cluster_slots
from prunebench.engine.executors.host import Shelf
from prunebench.errors import DeviceError

BIG = [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 32.0, "GPU": 4.0}]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    there = list(BIG)
    monkeypatch.setattr(module, "living_nodes", lambda: there)
    return there


@pytest.mark.parametrize(
    ("devices", "fraction", "count", "needs"),
    [
        ("auto", 1.0, 12, {"num_gpus": 1.0}),
        ("cuda", 0.5, 24, {"num_gpus": 0.5}),
        ("cuda", 0.1, 120, {"num_gpus": 0.1}),
        ("CUDA", 8.0, 1, {"num_gpus": 8.0}),
        ("cpu", 1.0, 96, {"num_cpus": 1}),
        ("cpu:3", 1.0, 3, {"num_cpus": 1}),
        ("cpu:4", 1.0, 4, {"num_cpus": 1}),
        ("cpu:96", 1.0, 96, {"num_cpus": 1}),
    ],
)
def test_slots_are_what_fits_on_single_nodes(
    nodes: list[dict[str, float]], devices: str, fraction: float, count: int, needs: dict[str, float]
) -> None:
    slots, asked = cluster_slots(devices, None, fraction)
    assert (len(slots), asked) == (count, needs)
    assert len({slot.name for slot in slots}) == count


def test_without_cards_auto_means_cores(nodes: list[dict[str, float]]) -> None:
    nodes[:] = [{"CPU": 2.0}, {"CPU": 3.0}]
    slots, needs = cluster_slots("auto", None, 1.0)
    assert [slot.device for slot in slots] == ["cpu"] * 5
    assert needs == {"num_cpus": 1}


def test_a_worker_has_one_thread_however_few_there_are(nodes: list[dict[str, float]]) -> None:
    nodes[:] = [{"CPU": 8.0}]
    taken = [cluster_slots(f"cpu:{count}", None, 1.0) for count in (1, 2, 4, 8)]
    assert [(len(slots), slots[0].threads, needs["num_cpus"]) for slots, needs in taken] == [
        (1, 1, 1),
        (2, 1, 1),
        (4, 1, 1),
        (8, 1, 1),
    ]
    assert cluster_slots("cpu:2", 3, 1.0)[1] == {"num_cpus": 3}


@pytest.mark.parametrize(
    ("devices", "fraction", "message"),
    [
        ("cuda", 9.0, r"9 GPUs per worker are asked for, the cluster's nodes have \[8, 4\]"),
        ("cuda", 0.0, "a fraction of a GPU or whole GPUs, got 0"),
        ("cuda", 1.5, r"got 1\.5: give 0\.5, 1 or 2"),
        ("cpu:97", 1.0, "97 workers with 1 core each are asked for, the cluster has room for 96"),
        ("cuda:0", 1.0, "cannot read devices 'cuda:0': on a cluster, devices are auto, cuda, cpu or cpu:N"),
        ("tpu", 1.0, "cannot read devices 'tpu'"),
    ],
)
def test_what_never_fits_is_refused(nodes: list[dict[str, float]], devices: str, fraction: float, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        cluster_slots(devices, None, fraction)


def test_a_shelf_keeps_only_complete_checkpoints_and_leaves_no_parts(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "checkpoints", None)
    shelf._write({"abc.json": b"{}", "abc.safetensors": b"weights"})
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["abc.json", "abc.safetensors"]
    assert [path.name for path in shelf._files("abc")] == ["abc.safetensors", "abc.json"]
    (tmp_path / "checkpoints" / "abc.safetensors").unlink()
    assert shelf._files("abc") == []
