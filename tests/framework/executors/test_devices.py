from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prunebench.engine.executors import devices
from prunebench.engine.executors.devices import resolve
from prunebench.errors import DeviceError


@pytest.fixture(autouse=True)
def a_machine_of_eight_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "core_count", lambda: 8)
    monkeypatch.setattr(devices, "roomy_slot_count", lambda: 100)
    monkeypatch.setattr(devices, "has_cuda_build", lambda: True)
    monkeypatch.setattr(devices, "made_folder", lambda: tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize(("cores", "count", "threads"), [(1, 1, 1), (2, 2, 1), (8, 8, 1), (64, 32, 1)])
def test_a_cpu_slot_has_one_thread_whatever_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, count: int, threads: int
) -> None:
    monkeypatch.setattr(devices, "core_count", lambda: cores)
    slots = resolve("auto")
    assert [(slot.name, slot.device) for slot in slots] == [(f"cpu:{index}", "cpu") for index in range(count)]
    assert {slot.threads for slot in slots} == {threads}


def test_slots_and_threads_can_be_said() -> None:
    assert [slot.threads for slot in resolve("cpu:4")] == [1, 1, 1, 1]
    assert [slot.threads for slot in resolve("cpu", threads_per_slot=4)] == [4, 4]
    assert [slot.threads for slot in resolve("CPU:16 ")] == [1] * 16


def test_little_memory_makes_few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "roomy_slot_count", lambda: 3)
    assert len(resolve("cpu")) == 3


def test_a_cpu_worker_sees_no_card() -> None:
    assert {slot.visible for slot in resolve("cpu:2")} == {""}


def test_auto_takes_every_card_that_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-8932f937")
    slots = resolve("auto")
    assert [(slot.name, slot.device, slot.visible) for slot in slots] == [
        ("cuda:0", "cuda:0", "3"),
        ("cuda:1", "cuda:0", "GPU-8932f937"),
    ]
    assert len({slot.leases for slot in slots}) == 2


def test_named_cards_are_of_those_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert [(slot.name, slot.visible) for slot in resolve("cuda:2,cuda:0")] == [("cuda:2", "6"), ("cuda:0", "4")]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("cuda:1,cuda:1", "cuda:1 is named twice in 'cuda:1,cuda:1': name every device once"),
        ("cuda:0,cuda:2", "'cuda:0,cuda:2' is not there; CUDA devices on this machine: cuda:0, cuda:1; or"),
        ("tpu", "cannot read device 'tpu': devices are auto, cpu, cpu:N for N slots, cuda, or cuda:0,cuda:1"),
        ("cuda:x", "cannot read device 'cuda:x'"),
        ("cuda:0,cpu", "cannot read device 'cpu'"),
        ("", "cannot read device ''"),
        ("cpu:0", "cpu:N takes a number of slots from 1 to 1024"),
        ("cpu:99999", "cpu:N takes a number of slots from 1 to 1024"),
        ("cpu:-1", "cpu:N takes a number of slots"),
    ],
)
def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str, message: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(DeviceError) as refusal:
        resolve(wanted)
    assert message in str(refusal.value)


def test_a_torch_without_cuda_leaves_the_cards_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(devices, "has_cuda_build", lambda: False)
    assert {slot.device for slot in resolve("auto")} == {"cpu"}
    with pytest.raises(DeviceError, match=r"torch \S+ is built without CUDA: install another, or use --devices cpu"):
        resolve("cuda:0")


def test_a_part_of_a_card_has_a_lease_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-6e5b/1/0")
    (slot,) = resolve("cuda")
    assert slot.visible == "MIG-GPU-6e5b/1/0"
    assert Path(slot.leases[0]).name == "slot-cuda-MIG-GPU-6e5b-1-0.lock"


def test_no_card_at_all_is_said() -> None:
    with pytest.raises(DeviceError, match=r"CUDA devices on this machine: none; or use --devices cpu"):
        resolve("cuda")


def test_cards_are_counted_by_the_drivers_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA X (UUID: GPU-1)'\necho '  MIG 1g.5gb'\necho 'GPU 1: NVIDIA X'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [slot.visible for slot in resolve("auto")] == ["0", "1"]


def test_a_tool_that_fails_means_no_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setattr(devices, "DRIVER_FOLDER", tmp_path / "no driver")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert {slot.device for slot in resolve("auto")} == {"cpu"}


def test_two_runs_prefer_different_places_of_the_same_cores() -> None:
    first, second = resolve("cpu:2", threads_per_slot=1)
    assert first.leases[0] != second.leases[0]
    assert set(first.leases) == set(second.leases)
    assert len(first.leases) == 8


@pytest.mark.parametrize(("text", "cores"), [("150000 100000", 1), ("400000 100000", 4), ("max 100000", 2**16)])
def test_a_containers_quota_counts(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert devices.quota_cores(tmp_path / "cpu.max") == cores


def test_the_parents_side_imports_no_torch() -> None:
    code = (
        "import sys, prunebench.engine.executors as e, prunebench.engine.executors.local as l\n"
        "e.make_executor('local', 'cpu:1', e.WorkSettings('.', '.'))\n"
        "assert not {'torch', 'numpy', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
