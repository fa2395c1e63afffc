"""What is the same under one id, tried: one small grid, run in several ways, each compared with another.

    python benchmarks/identity.py --out docs/make/identity.json && python docs/make/identity.py

It trains LeNets on the digits, prunes and fine-tunes them: with one worker, again, with two workers, killed in its
midst and called again, with other threads in the environment, on Ray, with the kernels of another kind of processor,
and on CUDA. What is not here is said, not assumed. Rows are kept after each way, so a second call goes on; the second
command writes them into docs/identity.md. Exit code 1 where a way that has to repeat every bit does not.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
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
ONE_WORKER = "with one worker"
ON_CUDA = "on CUDA"


@dataclass(frozen=True)
class Way:
    """One way to run the grid, and what is promised of it."""

    words: str
    why: str = ""
    promise: str = EXACT
    like: str = ONE_WORKER  # what it is compared with
    devices: str = "cpu:1"
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    is_killed: bool = False  # when the first trial is stored, then called again
    lacks: str = ""  # why it cannot be tried here


def ways() -> list[Way]:
    """All of them; the first is what most others are compared with."""
    no_ray = "" if importlib.util.find_spec("ray") else "Ray is not installed here"
    two = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    other = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    alone = "one thread, seeded generators of its own, deterministic kernels"
    slots = "a worker has the threads that the protocol says, whatever the slots; no trial touches the next"
    whole = "a trial ends whole or runs again; the dense network is read back from its checkpoint"
    kernels = "the kernels are chosen by the processor, and sum in another order"
    return [
        Way(ONE_WORKER, "what the others are compared with"),
        Way("with one worker again", alone),
        Way("with two workers, so in another order", slots, devices="cpu:2"),
        Way("killed (`kill -9`) in its midst and called again", whole, is_killed=True),
        Way("with `OMP_NUM_THREADS=2` in the environment", "the protocol's threads count", environment=two),
        Way("on Ray, on equal processors", "the same worker process", options=("--executor", "ray"), lacks=no_ray),
        Way("with the kernels of an older processor", kernels, CLOSE, environment=other),
        Way("with another release of torch", "so are these", CLOSE, lacks="one release is installed"),
        *_on_cuda(),
    ]


def _on_cuda() -> list[Way]:
    lacks = "" if Path("/proc/driver/nvidia/gpus").is_dir() else "there is no card here"
    twice = "where torch has deterministic kernels; where it has none, its warning is in the worker's log"
    return [
        Way(ON_CUDA, "other kernels", CLOSE, devices="cuda:0", lacks=lacks),
        Way("on CUDA again, on the same card", twice, like=ON_CUDA, devices="cuda:0", lacks=lacks),
    ]


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
    """Raises RuntimeError where the run ended before it could be killed."""
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    journals = database.with_suffix(".journal")
    while run.poll() is None and not any(b'"status"' in path.read_bytes() for path in journals.glob("*.jsonl")):
        time.sleep(LOOK_SECONDS)
    run.send_signal(signal.SIGKILL)
    if run.wait() != -signal.SIGKILL:
        raise RuntimeError(f"the run ended with {run.returncode} before it was killed")


def kept(rows: Mapping[str, tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    """Trial -> a hash of all that came out, accuracy and loss, as JSON holds them."""
    return {
        trial: {"hash": hashlib.sha256(repr(row).encode()).hexdigest()[:32], "loss": row[2], "accuracy": row[3]}
        for trial, row in rows.items()
    }


def compared(rows: dict[str, Any], first: dict[str, Any]) -> tuple[int, int, float, float]:
    """Trials that are the same in all, of how many, and the largest differences of accuracy and loss."""
    same = sum(rows.get(trial, {}).get("hash") == row["hash"] for trial, row in first.items())
    pairs = [(rows[trial], row) for trial, row in first.items() if trial in rows]
    accuracy, loss = (max(abs(a[name] - b[name]) for a, b in pairs) for name in ("accuracy", "loss"))
    return same, len(first), accuracy, loss


def is_broken(way: dict[str, Any], by_words: Mapping[str, dict[str, Any]]) -> bool:
    """Whether a way that has to repeat every bit did not."""
    if not way["rows"] or way["promise"] != EXACT:
        return False
    same, count, _, _ = compared(way["rows"], by_words[way["like"]]["rows"])
    return same != count


def of_machine() -> dict[str, str]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else "?"
    return {"torch": metadata.version("torch"), "processor": f"{platform.machine()}, {model}"}


def _tried(way: Way, folder: Path) -> dict[str, Any]:
    """The way's rows, or why there are none; then the next call tries it again."""
    rows, lacks = {}, way.lacks
    if not lacks:
        try:
            rows = rows_of(way, folder)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            lacks = f"no run of it ended well ({type(error).__name__})"
            print(error, file=sys.stderr)
    told = {"words": way.words, "why": way.why, "promise": way.promise, "like": way.like, "lacks": lacks}
    return {**told, "date": date.today().isoformat() if rows else "", "rows": kept(rows)}


def main() -> int:
    """1 where a way that has to repeat every bit does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of JSON; ways with rows in it are not run again")
    out = parser.parse_args().out
    facts = of_machine()
    old = json.loads(out.read_text()) if out.is_file() else {}
    before = {way["words"]: way for way in old.get("ways", ()) if way["rows"] and old["facts"] == facts}
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="identity-") as name:
        for number, way in enumerate(ways()):
            found.append(before.get(way.words) or _tried(way, Path(name) / str(number)))
            print(way.words, f"not tried: {lacks}" if (lacks := found[-1]["lacks"]) else "done", file=sys.stderr)
            rest = [before[later.words] for later in ways()[number + 1 :] if later.words in before]
            out.write_text(json.dumps({"facts": facts, "ways": found + rest}, indent=1) + "\n")
    by_words = {way["words"]: way for way in found}
    return int(any(is_broken(way, by_words) for way in found))


if __name__ == "__main__":
    sys.exit(main())
