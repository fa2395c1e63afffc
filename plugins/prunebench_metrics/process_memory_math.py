"""A network handed to a new process, which tells what it took."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from prunebench import NotApplicable
from torch import nn

LIMIT_SECONDS = 600
CHILD = """
import json, sys
import torch
from prunebench import samples

def field(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

torch.set_num_threads(1)
nothing = torch.nn.Linear(8, 8)(torch.zeros(1, 8))  # what the first product of all starts
before = field("VmRSS")
network, x = torch.load(sys.argv[1], weights_only=False, map_location="cpu")  # written by our parent alone
loaded = field("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the high-water mark begins again
with torch.inference_mode():
    samples.call(network, x)
print(json.dumps([loaded - before, field("VmHWM") - before]))
"""


def needed(network: nn.Module, x: Any, device: torch.device) -> tuple[float, float]:
    """Bytes beyond a process that has torch: after loading, and at most in one call of `network` on `x`.

    Raises `NotApplicable` where another process cannot load the network, or where nothing tells its memory.
    """
    if device.type != "cpu" or not Path("/proc/self/clear_refs").exists():
        raise NotApplicable("it is measured on the CPU, where /proc tells a process's memory")
    with tempfile.TemporaryDirectory(prefix="prunebench-") as folder:
        file = Path(folder) / "network.pt"
        try:
            torch.save((network, x), file)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise NotApplicable(f"another process cannot load the network ({error})") from None
        return _asked(file)


def _asked(file: Path) -> tuple[float, float]:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = (sys.executable, "-c", CHILD, str(file))
    done = subprocess.run(command, env=paths, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
        raise NotApplicable(f"another process cannot run the network ({last})")
    loaded, peak = json.loads(done.stdout)
    return max(0.0, float(loaded)), max(0.0, float(peak))
