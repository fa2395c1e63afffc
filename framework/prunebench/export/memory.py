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

TORCH = """
import json, resource, sys
import torch, prunebench, prunebench.export.load
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
inputs, imported = torch.load(sys.argv[2]), peak()
network = prunebench.load(sys.argv[1])
with torch.inference_mode():
    network(**inputs) if isinstance(inputs, dict) else network(*inputs)
print(json.dumps([imported, peak()]))
"""
ONNX = """
import json, resource, sys
import numpy, onnxruntime
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
inputs, imported = numpy.load(sys.argv[2]), peak()
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {one.name: inputs[f"arr_{i}"] for i, one in enumerate(session.get_inputs())})
print(json.dumps([imported, peak()]))
"""


def fresh_process(path: Path, inputs: Any, folder: Path) -> dict[str, int]:
    """Bytes resident at most, in all and above what the imports alone need; by the kernel's own account.

    `inputs` is the batch that is run, written to `folder`; raises `PruneBenchError` where the process fails.
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
    imported, peak = (kilobytes * _unit() for kilobytes in json.loads(done.stdout.splitlines()[-1]))
    return {"peak_bytes": peak, "above_imports_bytes": peak - imported, "batch": samples.count(inputs)}


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
