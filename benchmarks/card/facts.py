"""The machine, its card and the versions that a result belongs to."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from typing import Any

PACKAGES = ("prunebench", "torch", "torchvision", "triton", "duckdb", "numpy", "transformers")
ABSENT = ("polars", "vl-convert-python")  # what the engine must do without


def facts(device: str) -> dict[str, Any]:
    """What a reader needs to know of where the figures come from."""
    import torch
    from prunebench.measure.environment import driver_version

    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "without": [name for name in ABSENT if not _version(name)],
        "card": "",
    }
    if device == "cuda" and torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found |= {
            "card": card.name,
            "memory_gib": round(card.total_memory / 2**30, 1),
            "capability": f"{card.major}.{card.minor}",
            "driver": driver_version(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
