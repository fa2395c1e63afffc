"""One round in a process of its own, started by `fresh_processes` alone: `python -m …latency.one_round FOLDER SEED`."""

from __future__ import annotations

import math
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import torch

from prunebench.measure.latency.faults import ChangedWeights, InvalidOutput, is_lack_of_memory
from prunebench.measure.latency.fresh_processes import CHANGED, INVALID, NO_MEMORY, NOT_LOADED
from prunebench.measure.latency.latency import blocks_of
from prunebench.measure.latency.sides import Comparison
from prunebench.records import encode


def main(folder: Path, seed: int) -> int:
    """Time the comparison in `folder` and write its blocks there."""
    try:
        comparison: Comparison = torch.load(folder / "comparison.pt", weights_only=False)
    except (pickle.UnpicklingError, AttributeError, ImportError) as fault:
        return _fail(NOT_LOADED, fault)
    try:
        blocks = blocks_of(replace(comparison, seed=seed), math.inf)
    except ChangedWeights as fault:
        return _fail(CHANGED, fault)
    except InvalidOutput as fault:
        return _fail(INVALID, fault)
    except (RuntimeError, MemoryError) as fault:
        if not is_lack_of_memory(fault):
            raise
        return _fail(NO_MEMORY, fault)
    (folder / "blocks.json").write_bytes(encode(blocks))
    return 0


def _fail(status: int, error: Exception) -> int:
    print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
