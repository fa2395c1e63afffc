"""Hours of tiny trials under random faults: every planned trial has its row, and nothing grows.

`python benchmarks/soak.py --minutes 60` starts a run, and while it works kills and freezes its workers, freezes the
run itself, runs a second one on the same database, leaves it open in a careless notebook and asks it by SQL. Then a
disk is full for ten seconds (where a small one can be mounted). The last lines are the figures for docs/faults.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from prunebench.errors import PruneBenchError
from prunebench.store import Store, open_results
from prunebench.store.sealed import sealed_query
from soak_run import trials

HERE = Path(__file__).parent
TRIALS_A_MINUTE = 700  # with two workers and trials of a tenth of a second, faults and merges included
GROWTH_ALLOWED = 0.05
NOTEBOOK = """
import duckdb, sys, time
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    for _ in range(20):
        connection.execute("select count(*) from trials").fetchone()
        time.sleep(0.3)
"""


@dataclass
class Soak:
    """The run under test, what was done to it and what it weighed."""

    database: Path
    count: int
    dice: random.Random
    workers: list[int] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[int, int]] = field(default_factory=list)  # bytes of the run, its file handles
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def start(self, first: int, count: int) -> subprocess.Popen[bytes]:
        """A run of these trials in a process of its own."""
        command = [sys.executable, str(HERE / "soak_run.py"), str(self.database), str(first), str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    def listen(self, run: subprocess.Popen[bytes]) -> None:
        """Remember the workers that it starts."""
        for line in run.stdout or ():
            word, _, rest = line.decode().strip().partition(" ")
            if word == "worker":
                self.workers.append(int(rest))

    def weigh(self, run: subprocess.Popen[bytes]) -> None:
        """One sample of the run's own process."""
        with suppress(psutil.Error):
            process = psutil.Process(run.pid)
            self.samples.append((process.memory_full_info().uss, process.num_fds()))

    def weigh_often(self, run: subprocess.Popen[bytes]) -> None:
        """Twice a second until it ends."""
        while run.poll() is None:
            self.weigh(run)
            time.sleep(0.5)

    def tenths(self) -> list[float]:
        """Megabytes of the run, tenth by tenth."""
        cut = [self.samples[len(self.samples) * i // 10 : len(self.samples) * (i + 1) // 10] for i in range(10)]
        return [round(_resting([sample[0] for sample in part]) / 2**20, 1) for part in cut if part]

    def growth(self) -> tuple[float, int]:
        """Relative growth of memory and absolute growth of file handles, from the second quarter to the last."""
        quarter = len(self.samples) // 4
        early, late = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        memory = [_resting([sample[0] for sample in part]) for part in (early, late)]
        handles = [statistics.median(sample[1] for sample in part) for part in (early, late)]
        return memory[1] / memory[0] - 1, round(handles[1] - handles[0])


def _resting(values: list[int]) -> float:
    """The lowest tenth: what a process holds between merges, while DuckDB holds nothing."""
    return statistics.quantiles(values, n=10)[0] if len(values) > 1 else float(values[0])


def kill_worker(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """As the kernel does when memory is short."""
    with suppress(ProcessLookupError):
        os.kill(soak.workers[-1 - soak.dice.randrange(min(2, len(soak.workers)))], signal.SIGKILL)


def freeze_worker(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """For a second."""
    _freeze(soak.workers[-1])


def freeze_run(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """A laptop that is closed: to the run it is a jump of every clock but its own."""
    _freeze(run.pid)


def _freeze(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(pid, signal.SIGCONT)


def second_run(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """On the same database, half of its trials being ours too; every other one is killed."""
    other = soak.start(soak.count - 20, 40)
    soak.children.append(other)
    if soak.dice.random() < 0.5:
        time.sleep(3)
        other.kill()


def notebook(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """A reader that closes nothing in time."""
    command = [sys.executable, "-c", NOTEBOOK, str(soak.database)]
    soak.children.append(subprocess.Popen(command, stderr=subprocess.PIPE))


def ask(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """`bench query`."""
    try:
        sealed_query(soak.database, "select status, count(*) from trials group by status")
    except PruneBenchError as error:
        soak.faults.append(f"a query failed: {error}")


DEEDS: list[Callable[[Soak, subprocess.Popen[bytes]], None]] = [
    kill_worker, kill_worker, freeze_worker, freeze_run, second_run, notebook, ask,
]  # fmt: skip


def endure(soak: Soak, pause: float) -> None:
    """The run from its start to its end, with a fault every `pause` seconds or so."""
    run = soak.start(0, soak.count)
    ears = threading.Thread(target=soak.listen, args=(run,), daemon=True)
    ears.start()
    while run.poll() is None and not (soak.workers and soak.database.exists()):
        time.sleep(0.1)
    scales = threading.Thread(target=soak.weigh_often, args=(run,), daemon=True)
    scales.start()
    while run.poll() is None:
        time.sleep(soak.dice.expovariate(1 / pause))
        if run.poll() is None:
            deed = soak.dice.choice(DEEDS)
            deed(soak, run)
            soak.done[deed.__name__] += 1
    ears.join()
    scales.join()
    if run.returncode not in (0, 1):
        soak.faults.append(f"the run ended with {run.returncode}")


def settle(soak: Soak) -> dict[str, int]:
    """End what still runs, run the rest of what the killed second runs left, look at every row."""
    for child in soak.children:
        _, errors = child.communicate(timeout=300)
        if child.returncode not in (0, 1, -signal.SIGKILL):
            soak.faults.append(f"a reader or second run ended with {child.returncode}: {(errors or b'')[-200:]!r}")
    last = soak.start(soak.count - 20, 40)
    last.communicate(timeout=300)
    store = Store(soak.database)
    store.merge(wait_seconds=10)
    soak.faults += [line for line in store.check() if "no end" not in line]
    planned = [trial.id for trial in trials(0, soak.count + 20)]
    ended = store.finished(planned)
    if len(ended) != len(planned):
        soak.faults.append(f"{len(planned) - len(ended)} of {len(planned)} planned trials have no row")
    with open_results(soak.database) as results:
        if results.query("select count(*) - count(distinct trial_id) as n from trials").item():
            soak.faults.append("a trial has two rows")
    return dict(Counter(ended.values()))


def full_disk(soak: Soak, folder: Path) -> str:
    """A run on a small disk that fills up, ten seconds, room again, the same call once more; what came of it."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return "left out: no disk can be mounted here"
    try:
        small = Soak(disk / "results.duckdb", 100, soak.dice)
        command = [sys.executable, str(HERE / "soak_run.py"), str(small.database), "0", "100"]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(4)
        with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(1 << 20)):
                pass
        out, errors = run.communicate(timeout=120)
        acknowledged = [line.split()[1] for line in out.splitlines() if line.startswith("finished")]
        time.sleep(10)
        (disk / "ballast").unlink()
        kept = Store(small.database).finished(acknowledged)
        again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        whole = Store(small.database).finished([trial.id for trial in trials(0, 100)])
        if len(kept) != len(acknowledged) or len(whole) != 100 or again.returncode not in (0, 1):
            soak.faults.append(f"full disk: {len(kept)}/{len(acknowledged)} kept, {len(whole)}/100 at the end")
        if run.returncode != 2 or "Traceback" in errors or "no space left" not in errors:
            soak.faults.append(f"full disk: the run ended with {run.returncode}: {errors[-300:]}")
        return f"stopped by one line after {len(acknowledged)} trials, all kept; the same call ran the other trials"
    finally:
        subprocess.run(["umount", str(disk)], check=False, capture_output=True)


def main() -> int:
    """0 when nothing was lost and nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=4.0, help="Seconds between two faults, on average.")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        soak = Soak(folder / "runs" / "results.duckdb", int(given.minutes * TRIALS_A_MINUTE), random.Random(given.seed))
        endure(soak, given.pause)
        rows = settle(soak)
        disk = full_disk(soak, folder)
        memory, handles = soak.growth() if len(soak.samples) >= 8 else (0.0, 0)
    if len(soak.samples) >= 40 and (memory > GROWTH_ALLOWED or handles > 2):
        soak.faults.append(f"the run grew: memory by {memory:.1%}, file handles by {handles}")
    told = {
        "minutes": round((time.monotonic() - started) / 60, 1), "rows": rows, "deeds": dict(soak.done),
        "memory_growth": round(memory, 4), "memory_mb_by_tenths": soak.tenths(),
        "file_handle_growth": handles, "samples": len(soak.samples), "full_disk": disk, "faults": soak.faults,
    }  # fmt: skip
    print(json.dumps(told, indent=1))
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
