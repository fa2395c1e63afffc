"""One round in a process of its own: `python -m prunebench.measure.round FOLDER DEVICE SEED`, for `rounds.py` only."""

from __future__ import annotations

import math
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

from prunebench.measure.faults import ChangedWeights, InvalidOutput, is_lack_of_memory
from prunebench.measure.latency import blocks_of
from prunebench.measure.rounds import CHANGED, INVALID, NO_MEMORY, NOT_LOADED
from prunebench.records import LatencyProtocol, decode, encode


def main(folder: Path, device: str, seed: int) -> int:
    """Time the pair in `folder` and write its blocks there."""
    protocol = decode((folder / "protocol.json").read_bytes(), LatencyProtocol)
    held, error = _load(folder, device)
    if error:
        return _fail(NOT_LOADED, error)
    try:
        pair = (held["dense"], held["pruned"], held["x"])
        blocks = blocks_of(*pair, protocol, held["ways"], torch.device(device), seed, math.inf)
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


def _load(folder: Path, device: str) -> tuple[dict[str, Any], Exception | None]:
    try:
        return torch.load(folder / "pair.pt", weights_only=False, map_location=device), None
    except (pickle.UnpicklingError, AttributeError, ImportError) as error:
        return {}, error


def _fail(status: int, error: Exception) -> int:
    print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
