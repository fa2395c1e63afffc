"""What a fresh process needs that does nothing but load a saved network and run it once."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from prunebench import samples
from prunebench.errors import PruneBenchError

RESOLVED_BYTES = 2 << 20  # above the imports: torch's first operation of all takes half of it, whatever the network

BOOKS = """
import ctypes, gc, json, resource, sys
def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def begin():
    gc.collect()
    before = most()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")
        return before, status("VmRSS")
    except (OSError, AttributeError, StopIteration):
        return before, None
def end(before, resident):
    if resident is None:
        return [most(), most() - before]
    return [max(before, most()), status("VmHWM") - resident]
"""
TORCH = f"""{BOOKS}
import torch, prunebench, prunebench.export.load
inputs, begun = torch.load(sys.argv[2]), begin()
network = prunebench.load(sys.argv[1])
with torch.inference_mode():
    network(**inputs) if isinstance(inputs, dict) else network(*inputs)
print(json.dumps(end(*begun)))
"""
ONNX = f"""{BOOKS}
import numpy, onnxruntime
inputs = dict(numpy.load(sys.argv[2]))
begun = begin()
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {{one.name: inputs[f"arr_{{i}}"] for i, one in enumerate(session.get_inputs())}})
print(json.dumps(end(*begun)))
"""


def fresh_process(path: Path, inputs: Any, folder: Path) -> dict[str, int]:
    """Bytes resident at most, in all and above what is resident once all is imported; by the kernel's own account.

    Imports need more for a while than they keep, often more than a small network. So the kernel is asked, where it is
    Linux, to begin its account of the peak anew behind them. `inputs` is the batch that is run, written to `folder`;
    raises `PruneBenchError` where the process fails.
    """
    place = folder / ("inputs.npz" if path.suffix == ".onnx" else "inputs.pt")
    place.write_bytes(_as_bytes(inputs, path.suffix == ".onnx"))
    code = ONNX if path.suffix == ".onnx" else TORCH
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    paths["PRUNEBENCH_DISABLE_PLUGINS"] = "all"
    command = [sys.executable, "-W", "ignore", "-c", code, str(path), str(place)]
    done = subprocess.run(command, env=paths, capture_output=True, text=True, check=False)
    place.unlink()
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2][:200]
        raise PruneBenchError(f"a fresh process cannot run {path.name}: {last}")
    peak, above = (kilobytes * _unit() for kilobytes in json.loads(done.stdout.splitlines()[-1]))
    return {"peak_bytes": peak, "above_imports_bytes": above, "batch": samples.count(inputs)}


def said_above_imports(needed: dict[str, int]) -> str:
    """In words; what is smaller than can be told apart from nothing is said to be so."""
    above = needed["above_imports_bytes"]
    return f"{above:,}" if above >= RESOLVED_BYTES else f"less than {RESOLVED_BYTES:,} (the least that can be told)"


def _as_bytes(inputs: Any, for_onnx: bool) -> memoryview:
    """By way of memory: where the disk is full, torch's own writer ends the process.

    Of a copy, for torch writes all of the storage that a few rows are a part of.
    """
    made, inputs = io.BytesIO(), samples.mapped(torch.Tensor.clone, inputs)
    if for_onnx:
        import numpy as np

        np.savez(made, *(leaf.numpy() for leaf in samples.leaves(inputs)))
    else:
        torch.save(inputs if isinstance(inputs, dict) else tuple(samples.leaves(inputs)), made)
    return made.getbuffer()


def _unit() -> int:
    """Bytes in which the kernel counts: kilobytes on Linux."""
    return 1 if sys.platform == "darwin" else 1024
