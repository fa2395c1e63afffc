"""The machine that trials run on: torch, the devices and their driver, the load, and what timing cannot tell apart."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

from prunebench.doctor.checks import Check
from prunebench.engine.executors.devices import has_cuda_build, visible_cards

NOISE_LIMIT = 0.05


def torch_works() -> Iterator[Check]:
    """Torch is there and its linear algebra answers."""
    import torch

    torch.linalg.svd(torch.eye(4))
    yield Check("torch", "ok", f"torch {torch.__version__}, {torch.get_num_threads()} threads, linear algebra works")


def devices() -> Iterator[Check]:
    """Every CUDA device with its driver and memory; without one, whether there should be any."""
    import torch

    from prunebench.measure.environment import driver_version

    if not torch.cuda.is_available():
        yield _without_cuda()
        return
    driver = f"; driver {version}, CUDA {torch.version.cuda}" if (version := driver_version()) else ""
    for index in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError as error:
            seen = f"cuda:{index} does not answer: {str(error).splitlines()[0]}"
            yield Check(
                "devices", "fault", seen, "see nvidia-smi and restart the machine, or leave it out with --devices"
            )
            continue
        seen = f"cuda:{index} {torch.cuda.get_device_name(index)}, {free >> 30} of {total >> 30} GiB free{driver}"
        busy = free < total / 2
        fix = "another program uses most of its memory: stop it, or leave it out with --devices" if busy else ""
        yield Check("devices", "warning" if busy else "ok", seen, fix)


def _without_cuda() -> Check:
    """No CUDA device for torch: as it should be, or because torch, the driver and the cards do not fit."""
    seen, cards = f"cpu with {os.cpu_count()} cores; no CUDA device", visible_cards()
    if not cards:
        return Check("devices", "ok", seen)
    seen = f"{seen} that torch can use, but {len(cards)} card(s) are visible here"
    if not has_cuda_build():
        return Check("devices", "warning", seen, "this torch is built without CUDA: install one with it")
    return Check("devices", "fault", seen, "update the driver, or install a torch for its CUDA; see nvidia-smi")


def load() -> Iterator[Check]:
    """Whether others use the machine now."""
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = os.cpu_count() or 1
    seen = f"{platform.platform()}, load {busy:.1f} on {cores} cores"
    if busy > cores:
        yield Check("load", "warning", seen, "timings will take longer: stop other programs, or wait")
    else:
        yield Check("load", "ok", seen)


def noise() -> Iterator[Check]:
    """A network timed against its own copy: what this machine calls a difference where there is none."""
    import copy

    import torch
    from torch import nn

    from prunebench.measure.latency.latency import latency
    from prunebench.records import LatencyProtocol

    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 120), nn.ReLU(), nn.Linear(120, 10)).eval()
    protocol = LatencyProtocol(batch=(64,), max_seconds=2.0)
    example = torch.randn(1, 1, 28, 28)
    (timing,) = latency(network, copy.deepcopy(network), example, protocol, torch.device("cpu"), 0)
    floor = abs(timing.speedup - 1)
    seen = f"a network against its own copy: {timing.speedup:.3f} [{timing.speedup_low:.3f}, {timing.speedup_high:.3f}]"
    if floor > NOISE_LIMIT:
        yield Check("noise", "warning", seen, "smaller differences mean nothing on this machine: stop other programs")
    else:
        yield Check("noise", "ok", f"{seen}; contention {timing.contention:.0%}")
