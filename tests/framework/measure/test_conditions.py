from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from prunebench.measure.latency.conditions import gpu_state, precision


def test_how_a_card_may_compute_float32_is_plain_data() -> None:
    found = precision()
    assert found["float32_matmul"] in ("highest", "high", "medium")
    assert {found[name] for name in ("cudnn_tf32", "cudnn_benchmark", "cudnn_deterministic")} <= {True, False}
    assert not found["cudnn_benchmark"], "its choice of kernels would change from run to run"


class Nvml(SimpleNamespace):
    """NVML that knows some names; a part of a card has no clocks, as in reality."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    nvmlClocksThrottleReasonSwPowerCap = 4

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:
        if name not in self.names:
            raise self.NVMLError("Not Found")
        return name

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: str) -> str:
        assert part.startswith("MIG-")
        return "GPU-whole"

    def nvmlDeviceGetClockInfo(self, card: str, kind: int) -> int:
        if card.startswith("MIG-"):
            raise self.NVMLError("Not Supported")
        return 1000 * kind

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card: str) -> int:
        return 4

    def nvmlDeviceGetTemperature(self, card: str, sensor: int) -> int:
        return 40

    def nvmlDeviceGetPowerUsage(self, card: str) -> int:
        return 70_000


@pytest.mark.parametrize(("names", "has_clocks"), [({"GPU-a-b"}, True), ({"MIG-a-b"}, True), ({"GPU-other"}, False)])
def test_the_clocks_are_those_of_the_card_or_part_of_a_card_in_use(
    monkeypatch: pytest.MonkeyPatch, names: set[str], has_clocks: bool
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(names=names))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="a-b"))
    expected = {
        "sm_clock_mhz": 1000,
        "memory_clock_mhz": 2000,
        "temperature_c": 40,
        "power_w": 70.0,
        "throttled_by": ["SwPowerCap"],
    }
    assert gpu_state(torch.device("cuda:0")) == (expected if has_clocks else {})
