"""Where, with what and on what a result was made."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from prunebench.measure.latency.conditions import host_state
from prunebench.records import Provenance, Value

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "tensorly",
    "scikit-learn",
    "duckdb",
    "safetensors",
    "pillow",
    "transformers",
    "tokenizers",
    "lm_eval",
)


def provenance(
    device: torch.device | str,
    threads: int,
    *,
    dense_hash: str = "",
    dataset_fingerprint: str = "",
    plugins: Mapping[str, str] | None = None,
    code: Mapping[str, str] | None = None,
    data: Mapping[str, Value] | None = None,
) -> Provenance:
    """The machine, the libraries and the inputs of a result; what cannot change is looked up once per process."""
    return replace(
        _machine(str(device)),
        plugins=dict(plugins or {}),
        code=dict(code or {}),
        data=dict(data or {}),
        git_commit=git_commit(os.getcwd()),
        threads=threads,
        load_average=host_state().load_average,
        dense_hash=dense_hash,
        dataset_fingerprint=dataset_fingerprint,
    )


@lru_cache
def _machine(device: str) -> Provenance:
    gpu, driver = _gpu(device)
    return Provenance(
        prunebench=_version("prunebench"),
        python=platform.python_version(),
        torch=str(torch.__version__),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        host=platform.node(),
        os=f"{platform.system()} {platform.release()}",
        cpu=_cpu(),
        core_count=os.cpu_count() or 0,
        memory_bytes=_memory_bytes(),
        device=device,
        gpu=gpu,
        driver=driver,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    """The processor's name: Linux has it in /proc/cpuinfo only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next(names, platform.processor() or platform.machine())


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gpu(device: str) -> tuple[str, str]:
    if not device.startswith("cuda") or not torch.cuda.is_available():
        return "", ""
    return torch.cuda.get_device_name(torch.device(device)), driver_version()


def driver_version() -> str:
    """The kernel driver's version, as the driver itself tells it."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="ascii").split()
    except OSError:
        return ""
    return next((word for word in words if word[:1].isdigit() and word.count(".") >= 1), "")


@lru_cache
def git_commit(folder: str) -> str:
    """The commit checked out in `folder`, with "+changes" where files differ from it; empty outside git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return ""
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if changed else commit


def _git(folder: str, *words: str) -> str:
    try:
        done = subprocess.run(("git", "-C", folder, *words), capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
