"""A look over this machine: each check is green or says what mends it."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prunebench import __version__
from prunebench.discovery import find_installed
from prunebench.errors import PruneBenchError
from prunebench.executors.devices import has_cuda_build, visible_cards
from prunebench.store import Store

FREE_BYTES = 2 << 30
NOISE_LIMIT = 0.05
REQUIRED = ("torch", "torchvision", "duckdb", "polars", "altair", "click", "msgspec", "safetensors", "pluggy")


@dataclass(frozen=True)
class Check:
    """One look: `mend` is empty when all is well."""

    name: str
    state: Literal["ok", "warning", "fault"]
    seen: str
    mend: str = ""


def examine(db: Path, *, noise: bool = True) -> Iterator[Check]:
    """The checks, as they are made; the noise floor takes a few seconds."""
    yield _python()
    yield _packages()
    yield from _guarded("torch", _torch)
    yield from _guarded("devices", _devices)
    yield _folder(db.parent)
    yield _disk(db.parent)
    yield _locks(db.parent)
    yield from _guarded("database", lambda: _database(db))
    yield from _guarded("plugins", _plugins)
    yield _machine()
    yield _renderer()
    if noise:
        yield from _guarded("noise", _noise)


def _guarded(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from look()
    except PruneBenchError as error:
        yield Check(name, "fault", str(error), "see the message")
    except (ImportError, OSError, RuntimeError) as error:
        yield Check(name, "fault", f"{type(error).__name__}: {error}", "reinstall: pip install --force-reinstall")


def _python() -> Check:
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    return Check("python", "ok", f"{implementation} at {sys.executable}; prunebench {__version__}")


def _packages() -> Check:
    versions, absent = [], []
    for name in REQUIRED:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    if absent:
        return Check("packages", "fault", f"not installed: {', '.join(absent)}", f"pip install {' '.join(absent)}")
    return Check("packages", "ok", ", ".join(versions))


def _torch() -> Iterator[Check]:
    import torch

    torch.linalg.svd(torch.eye(4))
    yield Check("torch", "ok", f"torch {torch.__version__}, {torch.get_num_threads()} threads, linear algebra works")


def _devices() -> Iterator[Check]:
    import torch

    if not torch.cuda.is_available():
        yield _without_cuda()
        return
    for index in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError as error:
            seen = f"cuda:{index} does not answer: {str(error).splitlines()[0]}"
            yield Check(
                "devices", "fault", seen, "see nvidia-smi and restart the machine, or leave it out with --devices"
            )
            continue
        seen = f"cuda:{index} {torch.cuda.get_device_name(index)}, {free >> 30} of {total >> 30} GiB free"
        busy = free < total / 2
        mend = "another program uses most of its memory: stop it, or leave it out with --devices" if busy else ""
        yield Check("devices", "warning" if busy else "ok", seen, mend)


def _without_cuda() -> Check:
    """No CUDA device for torch: as it should be, or because torch, the driver and the cards do not fit."""
    seen, cards = f"cpu with {os.cpu_count()} cores; no CUDA device", visible_cards()
    if not cards:
        return Check("devices", "ok", seen)
    seen = f"{seen} that torch can use, but {len(cards)} card(s) are visible here"
    if not has_cuda_build():
        return Check("devices", "warning", seen, "this torch is built without CUDA: install one with it")
    return Check(
        "devices", "fault", seen, "bring the driver up to date, or install a torch for its CUDA; see nvidia-smi"
    )


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _folder(folder: Path) -> Check:
    existing = _existing(folder)
    if os.access(existing, os.W_OK):
        return Check("folder", "ok", f"{folder} can be written")
    return Check("folder", "fault", f"{existing} cannot be written", "choose another database with --db")


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(_existing(folder)).free
    if free >= FREE_BYTES:
        return Check("disk", "ok", f"{free >> 30} GiB free")
    return Check("disk", "warning", f"{free >> 20} MiB free", "make room: checkpoints and journals need it")


def _writable(folder: Path) -> Path:
    """The folder where a file can be made in it, otherwise that of temporary files: /proc says yes and means no."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.gettempdir())


def _locks(folder: Path) -> Check:
    """Two descriptors of one file must exclude each other, as journals and merges rely on."""
    existing = _writable(_existing(folder))
    with tempfile.NamedTemporaryFile(dir=existing) as first, open(first.name) as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Check("locks", "ok", f"flock works in {existing}")
    return Check("locks", "fault", f"flock does not exclude in {existing}", "put the database on a local disk")


def _database(db: Path) -> Iterator[Check]:
    if not db.exists():
        yield Check("database", "ok", f"none at {db} yet")
        return
    faults = Store(db).check()
    if faults:
        yield Check("database", "fault", "; ".join(faults)[:500], "bench db rebuild")
    else:
        yield Check("database", "ok", f"{db} is sound")


def _plugins() -> Iterator[Check]:
    installed = find_installed()
    for fault in installed.broken:
        seen = f"{fault.name} ({fault.distribution} {fault.version}): {fault.reason}"
        mend = f"upgrade or uninstall {fault.distribution}, or --disable-plugin {fault.entry}"
        yield Check("plugins", "fault", seen, mend)
    for owners in installed.clashes:
        whose = " and ".join(owner.source for owner in owners)
        yield Check("plugins", "warning", f"{owners[0].name} is claimed by {whose}", "uninstall one of them")
    for warning in installed.warnings:
        yield Check("plugins", "warning", warning, "tell its author")
    if not installed.broken:
        yield Check(
            "plugins", "ok", f"{len(installed.plugins)} from {len({p.distribution for p in installed.plugins})}"
        )


def _machine() -> Check:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = os.cpu_count() or 1
    seen = f"{platform.platform()}, load {load:.1f} on {cores} cores"
    if load > cores:
        return Check("load", "warning", seen, "timings will take longer: let the machine come to rest")
    return Check("load", "ok", seen)


def _renderer() -> Check:
    try:
        version = importlib.metadata.version("vl-convert-python")
    except importlib.metadata.PackageNotFoundError:
        return Check("charts", "warning", "no vl-convert", "pip install vl-convert-python for SVG, PNG and PDF")
    return Check("charts", "ok", f"SVG, PNG and PDF through vl-convert {version}; no browser is needed")


def _noise() -> Iterator[Check]:
    """A network timed against its own copy: what this machine calls a difference where there is none."""
    import copy

    import torch
    from torch import nn

    from prunebench.measure.latency import latency
    from prunebench.records import LatencyProtocol

    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 120), nn.ReLU(), nn.Linear(120, 10)).eval()
    protocol = LatencyProtocol(batch=(64,), max_seconds=2.0)
    example = torch.randn(1, 1, 28, 28)
    (timing,) = latency(network, copy.deepcopy(network), example, protocol, torch.device("cpu"), 0)
    floor = abs(timing.speedup - 1)
    seen = f"a network against its own copy: {timing.speedup:.3f} [{timing.speedup_low:.3f}, {timing.speedup_high:.3f}]"
    if floor > NOISE_LIMIT:
        yield Check("noise", "warning", seen, "differences below that mean nothing here: stop other programs")
    else:
        yield Check("noise", "ok", f"{seen}; contention {timing.contention:.0%}")
