"""What is the same under one id, tried: one small grid, run in several ways, each compared with the first.

`python benchmarks/identity.py` trains LeNets on the digits, prunes and fine-tunes them: with one worker, again, with
two workers, killed in its midst and called again, with other threads in the environment, on Ray, with the kernels of
another kind of processor, and on CUDA. What is not here is said, not assumed. Its output stands in docs/identity.md.
Exit code 1 where a way that has to repeat every bit does not.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from prunebench.store import open_results

GRID = """
name = "identity"
[protocol]
train = { epochs = 1, lr = 2e-3 }
finetune = { epochs = 1, lr = 1e-3 }
calibration = 64
latency = { batch = [] }
[[block]]
dataset = "digits"
model = "lenet5"
seed = [0, 1]
method = [{ use = "magnitude", keep = 0.3 }, { use = "low_rank", rank = 4 }]
"""
SQL = (
    "select t.trial_id, t.status, t.dense_hash, t.loss, t.top1_accuracy, t.nonzero_parameter_count, p.correct "
    "from trials as t left join "
    "(select r.trial_id, p.correct from result as r join prediction as p on p.result = r.id) as p "
    "using (trial_id) order by t.trial_id"
)
EXACT = "every bit"
CLOSE = "close"
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Way:
    """One way to run the grid, and what is promised of it."""

    words: str
    promise: str = EXACT
    devices: str = "cpu:1"
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    is_killed: bool = False  # when the first trial is stored, then called again
    lacks: str = ""  # why it cannot be tried here


def ways() -> list[Way]:
    """All of them; the first is what the others are compared with."""
    no_ray = "" if importlib.util.find_spec("ray") else "Ray is not installed here"
    other = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    return [
        Way("one worker"),
        Way("one worker again"),
        Way("two workers", devices="cpu:2"),
        Way("killed (`kill -9`) after its first result and called again", is_killed=True),
        Way(
            "with `OMP_NUM_THREADS=2` in the environment", environment={"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
        ),
        Way("on Ray", options=("--executor", "ray"), lacks=no_ray),
        Way("with the kernels of an older processor", CLOSE, environment=other),
        *_on_cuda(),
    ]


def _on_cuda() -> list[Way]:
    lacks = "" if Path("/proc/driver/nvidia/gpus").is_dir() else "there is no card here"
    return [Way("on CUDA", CLOSE, devices="cuda:0", lacks=lacks)]


def rows_of(way: Way, folder: Path) -> dict[str, tuple[Any, ...]]:
    """Trial -> what came out, without times."""
    database, grid = folder / "results.duckdb", folder / "grid.toml"
    folder.mkdir()
    grid.write_text(GRID)
    command = [sys.executable, "-m", "prunebench", "run", "--grid", str(grid), "--db", str(database)]
    command += ["--no-report", "--devices", way.devices, *way.options]
    environment = {**os.environ, **way.environment}
    if way.is_killed:
        _kill_in_its_midst(command, environment, database)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    with open_results(database) as results:
        return {row[0]: row[1:] for row in results.query(SQL).rows()}


def _kill_in_its_midst(command: list[str], environment: dict[str, str], database: Path) -> None:
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    journals = database.with_suffix(".journal")
    while run.poll() is None and not any(b'"status"' in path.read_bytes() for path in journals.glob("*.jsonl")):
        time.sleep(LOOK_SECONDS)
    run.send_signal(signal.SIGKILL)
    run.wait()


def compared(rows: dict[str, tuple[Any, ...]], first: dict[str, tuple[Any, ...]]) -> tuple[int, int, float, float]:
    """Trials that are the same in all, of how many, and the largest differences of accuracy and loss."""
    same = sum(rows.get(key) == row for key, row in first.items())
    pairs = [(rows[key], row) for key, row in first.items() if key in rows]
    accuracy = max(abs(a[3] - b[3]) for a, b in pairs)
    return same, len(first), accuracy, max(abs(a[2] - b[2]) for a, b in pairs)


def line_of(way: Way, rows: dict[str, tuple[Any, ...]], first: dict[str, tuple[Any, ...]]) -> tuple[str, bool]:
    """The row of the table, and whether the promise held."""
    if way.lacks:
        return f"| {way.words} | {way.promise} | not tried: {way.lacks} | | |", True
    same, count, accuracy, loss = compared(rows, first)
    ok = way.promise != EXACT or same == count
    return f"| {way.words} | {way.promise} | {same} of {count} | {accuracy:.4f} | {loss:.2g} |", ok


def main() -> int:
    """1 where a way that has to repeat every bit does not."""
    lines, held, first = [], True, dict[str, tuple[Any, ...]]()
    with tempfile.TemporaryDirectory(prefix="identity-") as name:
        for number, way in enumerate(ways()):
            rows = {} if way.lacks else rows_of(way, Path(name) / str(number))
            first = first or rows
            line, ok = line_of(way, rows, first)
            held = held and ok
            lines.append(line)
            print(line, file=sys.stderr, flush=True)
    print(
        "Made by `python benchmarks/identity.py`: LeNet-5 on the digits, trained, pruned in two ways, fine-tuned,\n"
        f"two seeds, torch {metadata.version('torch')}, {platform.machine()}. Compared are the dense network's\n"
        "hash, the loss to its last bit, accuracy, nonzero parameters and every single answer.\n\n"
        "| run | promised | trials that are the same | accuracy differs by, at most | loss by |\n"
        "| --- | --- | --- | --- | --- |"
    )
    print("\n".join(lines))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
