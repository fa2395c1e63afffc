"""Counters of energy, and two networks that run beside them in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from prunebench import NotApplicable, samples
from torch import nn

POWERCAP = Path("/sys/class/powercap")
VALID = 0.1  # of what a network adds: by less the power of its two runs must differ, and that of the two rests


class Counter(Protocol):
    """Joules since some time in the past."""

    def joules(self) -> float:
        """Never less than before."""

    def finish(self) -> None:
        """Wait until what was asked for is done."""


class Rapl:
    """The packages of the machine's processors; raises `NotApplicable` where there are none or they are not ours."""

    def __init__(self, folder: Path) -> None:
        self._zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if _is_package(zone)]
        if not self._zones:
            raise NotApplicable(f"no processor here has an energy counter: {folder} has no package")
        self._largest = [_number(zone / "max_energy_range_uj") for zone in self._zones]
        self._last = [_number(zone / "energy_uj") for zone in self._zones]
        self._sum = 0

    def joules(self) -> float:
        """Each counter begins again at zero behind its largest number; it is to be read before it does so twice."""
        for place, zone in enumerate(self._zones):
            now = _number(zone / "energy_uj")
            step = now - self._last[place]
            self._sum += step if step >= 0 else step + self._largest[place]
            self._last[place] = now
        return self._sum / 1e6

    def finish(self) -> None:
        """A call on the CPU is done when it returns."""


def _is_package(zone: Path) -> bool:
    """Not a part of one, which it counts already, nor the whole system."""
    try:
        return (zone / "name").read_text(encoding="utf-8").startswith("package")
    except OSError:
        return False


def _number(file: Path) -> int:
    try:
        return int(file.read_text(encoding="utf-8"))
    except PermissionError:
        raise NotApplicable(f"{file} may not be read: it is root's unless an administrator opens it") from None
    except (OSError, ValueError) as error:
        raise NotApplicable(f"{file} cannot be read as an energy: {error}") from None


class Nvml:
    """One whole card; raises `NotApplicable` where NVML does not answer, or the card does not count."""

    def __init__(self, device: torch.device) -> None:
        try:
            import pynvml
        except ImportError:
            raise NotApplicable("the energy of a card is read with nvidia-ml-py: pip install nvidia-ml-py") from None
        self._nvml, self._device = pynvml, device
        try:
            pynvml.nvmlInit()
            self._card = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        except pynvml.NVMLError as error:
            raise NotApplicable(f"NVML does not report the card: {error}") from None
        self.joules()

    def joules(self) -> float:
        """Since the driver was loaded."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._card)) / 1e3
        except self._nvml.NVMLError as error:
            raise NotApplicable(f"the card has no energy counter: {error}") from None

    def finish(self) -> None:
        """Kernels run on behind the call."""
        torch.cuda.synchronize(self._device)


def counter_for(device: torch.device) -> Counter:
    """What counts the energy of `device`; raises `NotApplicable` where nothing does."""
    if device.type == "cuda":
        return Nvml(device)
    if device.type != "cpu":
        raise NotApplicable(f"there is no energy counter for {device}")
    return Rapl(POWERCAP)


@dataclass(frozen=True)
class Segment:
    """A stretch of time: joules, seconds, and samples that were answered."""

    joules: float
    seconds: float
    count: int = 0

    def __add__(self, other: Segment) -> Segment:
        return Segment(self.joules + other.joules, self.seconds + other.seconds, self.count + other.count)

    @property
    def watts(self) -> float:
        """On average."""
        return self.joules / self.seconds


Halves = tuple[Segment, Segment]


def compared(network: nn.Module, dense: nn.Module, x: Any, counter: Counter, seconds: float) -> Mapping[str, float]:
    """The numbers of `Energy`, from two runs of each network between two rests."""
    half = seconds / 2

    def run(each: nn.Module) -> Segment:
        return measured(lambda: samples.call(each, x), samples.count(x), counter, half)

    with torch.inference_mode():
        for each in (network, dense):
            samples.call(each, x)
        before = rest(counter, half)
        first, second, third, fourth = (run(each) for each in (network, dense, dense, network))
        behind = rest(counter, half)
    return numbers((first, fourth), (second, third), (before, behind))


def numbers(pruned: Halves, dense: Halves, rests: Halves) -> Mapping[str, float]:
    """Joules per sample, idle subtracted; raises `NotApplicable` where a network adds nothing to the idle power."""
    runs = (pruned[0] + pruned[1], dense[0] + dense[1])
    idle = (rests[0] + rests[1]).watts
    if not any(run.joules for run in runs):
        raise NotApplicable(f"the energy counter stood still for {sum(run.seconds for run in runs):.1f} s")
    added = [run.watts - idle for run in runs]
    if min(added) <= 0:
        raise NotApplicable("the machine used as much energy at rest as under load: other programs are running")
    own, other = (watts * run.seconds / run.count for watts, run in zip(added, runs, strict=True))
    facts = {"joules": own, "dense_joules": other, "times_less": other / own, "idle_watts": idle}
    apart = zip((pruned, dense, rests), (*added, min(added)), strict=True)
    return {**facts, "valid": float(all(abs(a.watts - b.watts) < VALID * watts for (a, b), watts in apart))}


def measured(call: Callable[[], Any], batch: int, counter: Counter, seconds: float) -> Segment:
    """Calls one after the other until the time is up."""
    counter.finish()
    start, joules, count = time.perf_counter(), counter.joules(), 0
    while time.perf_counter() - start < seconds or not count:
        call()
        count += batch
    counter.finish()
    return Segment(counter.joules() - joules, time.perf_counter() - start, count)


def rest(counter: Counter, seconds: float) -> Segment:
    """Nothing of ours runs."""
    start, joules = time.perf_counter(), counter.joules()
    time.sleep(seconds)
    return Segment(counter.joules() - joules, time.perf_counter() - start)
