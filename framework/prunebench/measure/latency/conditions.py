"""The state of the host and of the card while something was timed."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

THREAD = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


@dataclass(frozen=True)
class HostState:
    """Counters of the host, and of the thread that looked."""

    load_average: float | None
    steal_ticks: int
    all_ticks: int
    involuntary_switches: int
    page_faults: int


def host_state() -> HostState:
    """The counters now."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    usage = resource.getrusage(THREAD)
    return HostState(load, *_ticks(), usage.ru_nivcsw, usage.ru_minflt)


def _ticks() -> tuple[int, int]:
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return 0, 0
    ticks = [int(word) for word in first.split()[1:9]]
    return (ticks[7] if len(ticks) > 7 else 0), sum(ticks)


def between(before: HostState, after: HostState) -> dict[str, Any]:
    """What passed between two looks: load, share of CPU time stolen by other guests, switches, page faults."""
    ticks = after.all_ticks - before.all_ticks
    return {
        "load_average": after.load_average,
        "steal": round((after.steal_ticks - before.steal_ticks) / ticks, 4) if ticks else 0.0,
        "involuntary_switches": after.involuntary_switches - before.involuntary_switches,
        "page_faults": after.page_faults - before.page_faults,
    }


def gpu_state(device: torch.device) -> dict[str, Any]:
    """Clocks (MHz), temperature (°C), power (W) and throttle reasons of a card, where NVML answers; else nothing."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
        return _read_card(pynvml, _card(pynvml, device))
    except pynvml.NVMLError:
        return {}


def precision() -> dict[str, Any]:
    """How CUDA may compute float32, for both networks alike: TF32 in products and convolutions, cuDNN's own choice."""
    return {
        "float32_matmul": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
    }


def _card(nvml: Any, device: torch.device) -> Any:
    """The whole card by its own name: NVML numbers cards in another way, and a part of one (MIG) has no clocks."""
    uuid = torch.cuda.get_device_properties(device).uuid
    try:
        return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except nvml.NVMLError:
        part = nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)


def _read_card(nvml: Any, card: Any) -> dict[str, Any]:
    reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)
    names = {name: getattr(nvml, f"nvmlClocksThrottleReason{name}", 0) for name in _REASONS}
    return {
        "sm_clock_mhz": nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM),
        "temperature_c": nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU),
        "power_w": nvml.nvmlDeviceGetPowerUsage(card) / 1000,
        "throttled_by": [name for name, bit in names.items() if reasons & bit],
    }


_REASONS = ("HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown", "SwPowerCap")
