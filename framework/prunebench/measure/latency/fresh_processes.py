"""Rounds in fresh processes: what the address space and the start of one process did to a pair, the next does not."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from prunebench.measure.latency.faults import ChangedWeights, InvalidOutput
from prunebench.measure.latency.pairs import Blocks
from prunebench.measure.latency.sides import Comparison
from prunebench.records import decode

NOT_LOADED, INVALID, CHANGED, NO_MEMORY = 3, 4, 5, 6  # exit statuses of a child; its last line says more


class NotPortable(Exception):
    """Networks that another process cannot load: classes of a script, of a plugin file, or defined in a function."""


FAULTS: dict[int, type[Exception]] = {
    NOT_LOADED: NotPortable,
    INVALID: InvalidOutput,
    CHANGED: ChangedWeights,
    NO_MEMORY: torch.OutOfMemoryError,
}


def in_fresh_processes(comparison: Comparison) -> Blocks:
    """The blocks of `protocol.rounds` processes, started one after the other; each has its share of the time."""
    protocol, count = comparison.protocol, comparison.protocol.rounds
    share = replace(protocol, rounds=1, max_seconds=protocol.max_seconds / count)
    with tempfile.TemporaryDirectory(prefix="prunebench-") as name:
        folder = Path(name)
        _save(folder, replace(comparison, protocol=share))
        found = [_child(folder, comparison.seed * count + index) for index in range(count)]
    return _joined(found)


def _save(folder: Path, comparison: Comparison) -> None:
    """Written and read by us alone, in a folder that nobody else may enter."""
    try:
        torch.save(comparison, folder / "comparison.pt")
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotPortable(str(error)) from error


def _child(folder: Path, seed: int) -> Blocks:
    command = (sys.executable, "-m", "prunebench.measure.latency.one_round", str(folder), str(seed))
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, env=paths, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _fault(done.returncode, done.stderr.strip())
    return decode((folder / "blocks.json").read_bytes(), Blocks)


def _fault(status: int, text: str) -> Exception:
    last = text.rpartition("\n")[2]
    if status in FAULTS:
        return FAULTS[status](last)
    return RuntimeError(f"a round in a fresh process ended with status {status}: {text[-2000:]}")


def _joined(found: list[Blocks]) -> Blocks:
    """All blocks, a process per round; the first process tells how the cold calls were."""
    whole = Blocks(cold_ms=found[0].cold_ms, calls=found[0].calls, stopped="groups")
    for index, blocks in enumerate(found):
        whole.add(list(zip(blocks.dense, blocks.pruned, strict=True)), index)
        whole.stopped = "time" if blocks.stopped == "time" else whole.stopped
    ratios = zip(*(blocks.times_longer_when_new for blocks in found), strict=True)
    dense, pruned = (median(of_side) for of_side in ratios)
    whole.times_longer_when_new = (dense, pruned)
    return whole
