"""Faults 48 and 49: cards that are full, break, are lost or were never there; what needs one skips without it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from executor_toys import ONCE, cpu, results, toy, work_settings
from numbered import fault
from prunebench.doctor import machine
from prunebench.engine.executors import RetryPolicy
from prunebench.engine.executors.devices import resolve
from prunebench.engine.executors.local import LocalExecutor
from prunebench.errors import DeviceError
from prunebench.measure.latency import conditions

HERE = Path(__file__).parent
on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
Make = Callable[..., LocalExecutor]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent / "framework" / "executors")]), prepend=os.pathsep
    )

    def executor(devices: str, retries: RetryPolicy = ONCE, opening: str = "open_workbench") -> LocalExecutor:
        slots = cpu(1) if devices == "cpu" else resolve(devices, None)
        return LocalExecutor(slots, work_settings(tmp_path, {}), retries, f"gpu_runner:{opening}")

    return executor


@fault(
    48, "a card without memory, as torch says it", "status oom after a second try; the next trial has a fresh worker"
)
def test_a_full_card_is_tried_again_in_a_fresh_worker_and_is_an_oom(make: Make) -> None:
    found = results(
        make("cpu", RetryPolicy(killed=0, oom=1)).run([toy("is_alive"), toy("is_full"), toy("is_alive", 1)])
    )
    assert (found["is_full"].status, found["is_full"].attempt) == ("oom", 2)
    assert found["is_full"].reason.startswith("CUDA out of memory")
    assert found["is_alive"].detail != found["is_alive@1"].detail, "two workers"


@fault(49, "a card that is lost in a trial", "that trial failed with torch's words; the next has a fresh worker")
def test_a_lost_card_costs_its_trial_and_its_worker(make: Make) -> None:
    found = results(make("cpu").run([toy("is_alive"), toy("is_lost"), toy("is_alive", 1)]))
    assert (found["is_lost"].status, found["is_alive@1"].status) == ("failed", "ok")
    assert "CUDA error: unspecified launch failure" in found["is_lost"].reason
    assert found["is_alive"].detail != found["is_alive@1"].detail, "two workers"


@fault(
    49, "a card that is gone when its worker starts", "the run ends after three tries, in one line with torch's words"
)
def test_a_card_that_stays_away_ends_the_run(make: Make) -> None:
    with pytest.raises(DeviceError, match=r"no worker could start after 3 tries .*No CUDA GPUs are available"):
        list(make("cpu", opening="open_without_card").run([toy("is_alive")]))


@fault(49, "a GPU that is not there", "one line that names it and the devices there are")
def test_a_card_that_is_not_there_is_named_before_anything_starts() -> None:
    with pytest.raises(DeviceError, match="cuda:97"):
        resolve("cuda:97", None)


@fault(49, "a driver that cannot be asked (NVML)", "timing goes on, without clocks and temperature")
@pytest.mark.parametrize("lacks", ["module", "library", "field"])
def test_without_nvml_a_card_is_measured_without_its_clocks(monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    class NVMLError(Exception):
        pass

    def refuse(*words: object) -> None:
        raise NVMLError("Not Supported")

    names = ("nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetCurrentClocksThrottleReasons")
    nvml = SimpleNamespace(NVMLError=NVMLError, **dict.fromkeys(names, lambda *words: 0))
    setattr(nvml, "nvmlInit" if lacks == "library" else "nvmlDeviceGetCurrentClocksThrottleReasons", refuse)
    monkeypatch.setitem(sys.modules, "pynvml", None if lacks == "module" else nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="0"))
    assert conditions.gpu_state(torch.device("cuda:0")) == {}


@fault(49, "cards that this torch cannot use", "`bench doctor` counts them and says what to install")
def test_the_doctor_tells_cards_from_cards_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for cards, has_build, state, mend in (
        ([], True, "ok", ""), (["0", "1"], False, "warning", "built without CUDA"), (["0"], True, "fault", "driver"),
    ):  # fmt: skip
        monkeypatch.setattr(machine, "visible_cards", lambda cards=cards: cards)
        monkeypatch.setattr(machine, "has_cuda_build", lambda has_build=has_build: has_build)
        (check,) = machine.devices()
        assert (check.state, mend in check.mend) == (state, True)


@fault(49, "a card that does not answer", "`bench doctor` names it and looks at the others")
def test_the_doctor_names_the_card_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def memory(index: int) -> tuple[int, int]:
        if index == 0:
            raise RuntimeError("CUDA error: unspecified launch failure\nmore")
        return 70 << 30, 80 << 30

    for name, answer in (
        ("is_available", lambda: True), ("device_count", lambda: 2), ("mem_get_info", memory),
        ("get_device_name", lambda index: "card"),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, answer)
    lost, well = machine.devices()
    assert (lost.state, lost.seen) == ("fault", "cuda:0 does not answer: CUDA error: unspecified launch failure")
    assert "nvidia-smi" in lost.mend
    assert (well.state, well.seen) == ("ok", "cuda:1 card, 70 of 80 GiB free")


@pytest.mark.gpu
@on_a_card
@fault(48, "CUDA out of memory on a real card", "status oom; a failed assertion is a failure; the next trial works")
def test_a_card_without_memory_is_an_oom_and_the_next_trial_works(make: Make) -> None:
    found = results(make("cuda:0").run([toy("allocates"), toy("asserts"), toy("multiplies")]))
    assert [found[name].status for name in ("allocates", "asserts", "multiplies")] == ["oom", "failed", "ok"]
    assert "CUDA error" in found["asserts"].reason


@pytest.mark.gpu
@on_a_card
@fault(49, "a real card that is hidden from the worker", "the trial fails with torch's words")
def test_a_hidden_card_fails_its_trial(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-00000000-0000-0000-0000-000000000000")
    found = results(make("cuda:0").run([toy("multiplies")]))
    assert found["multiplies"].status == "failed"
    assert "CUDA" in found["multiplies"].reason


@pytest.mark.gpu
@on_a_card
@fault(49, "a real card beside a number that no card has", "the line names the cards there are")
def test_the_cards_there_are_are_named() -> None:
    with pytest.raises(DeviceError, match=r"'cuda:97' is not there; CUDA devices on this machine: cuda:0"):
        resolve("cuda:97", None)


@pytest.mark.gpu
@on_a_card
@fault(49, "a real card without NVML", "the conditions of a block are those of the host alone")
def test_a_real_card_without_nvml_has_no_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert conditions.gpu_state(torch.device("cuda:0")) == {}
