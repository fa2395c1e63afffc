"""Hours of tiny trials under random faults: every planned trial has its row, and nothing grows.

`python benchmarks/soak.py --minutes 60` starts a run, and while it works kills and freezes its workers, freezes the
run itself, sets its clock, runs a second one on the same database, leaves it open in a careless notebook and asks it
by SQL. Then a run is killed and called again until it is through, and a disk is full for ten seconds (where a small one
can be mounted). The run and its first worker, which nothing kills, are weighed. The last lines are the figures for
docs/faults.md; `--progress FILE` keeps those of memory up to date in a file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import struct
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
from typing import Any, NamedTuple

import psutil
from prunebench.errors import PruneBenchError
from prunebench.store import Store, open_results
from prunebench.store.sealed_client import sealed_query
from soak_run import TIMEOUT_SECONDS, trials
from soak_runner import ROUGH_SLOT, blocks_file

HERE = Path(__file__).parent
TRIALS_A_MINUTE = 1000  # hardly more with two workers, trials of a tenth of a second, faults and merges
GROWTH_ALLOWED = 0.05
ARENA = 2**20  # bytes by which Python takes memory: most of a tenth of a small worker
HANDLES_ALLOWED = 2
BLOCKS_ALLOWED = 0.01  # of the objects that live in the worker: they tell what an arena hides
SHORT_ALLOWED = 0.15  # in less than ten minutes, where a first large merge may fall into the last quarter
LONG = 1200  # samples
AGAIN = 100  # trials of the run that is killed and called again
NOTEBOOK = """
import duckdb, sys, time
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    for _ in range(20):
        connection.execute("select count(*) from trials").fetchone()
        time.sleep(0.3)
"""


class Sample(NamedTuple):
    """What the run and its steady worker held at one moment."""

    memory: int  # bytes
    worker_memory: int
    file_handle: int
    worker_blocks: int  # of memory that Python's objects take, as the worker counts them


@dataclass
class Soak:
    """The run under test, what was done to it and what it weighed."""

    database: Path
    count: int
    dice: random.Random
    clock: Path | None = None  # holds the seconds that the run's wall clock is ahead
    workers: list[int] = field(default_factory=list)
    steady: int = 0  # the worker that nothing kills
    done: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def start(self, first: int, count: int) -> subprocess.Popen[bytes]:
        """A run of these trials in a process of its own."""
        command = [sys.executable, str(HERE / "soak_run.py"), str(self.database), str(first), str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=self.environment())

    def environment(self) -> dict[str, str]:
        """This process's, and the clock that can be set."""
        if self.clock is None:
            return dict(os.environ)
        return {**os.environ, "LD_PRELOAD": str(self.clock.with_suffix(".so")), "WALL_CLOCK": str(self.clock)}

    def listen(self, run: subprocess.Popen[bytes]) -> None:
        """Remember the workers that it starts."""
        for line in run.stdout or ():
            word, _, rest = line.decode().strip().partition(" ")
            if word == "worker":
                pid, slot = rest.split()
                if slot == ROUGH_SLOT:
                    self.workers.append(int(pid))
                elif self.steady:
                    self.faults.append(f"the worker of {slot} died")
                self.steady = self.steady if slot == ROUGH_SLOT else int(pid)

    def weigh(self, run: subprocess.Popen[bytes]) -> None:
        """One sample of the run's own process and of its steady worker."""
        with suppress(psutil.Error, OSError, ValueError):
            handles = psutil.Process(run.pid).num_fds()
            blocks = int(blocks_file(self.database.parent, self.steady).read_text())
            self.samples.append(Sample(own_memory(run.pid), own_memory(self.steady), handles, blocks))

    def weigh_often(self, run: subprocess.Popen[bytes], progress: Path | None) -> None:
        """Twice a second until it ends."""
        while run.poll() is None:
            self.weigh(run)
            if progress and len(self.samples) % 120 == 8:
                progress.write_text(json.dumps({**self.weights(), "deeds": dict(self.done), "faults": self.faults}))
            time.sleep(0.5)

    def weights(self) -> dict[str, Any]:
        """What the run and its steady worker weighed, and by how much they grew."""
        if len(self.samples) < 8:
            return {"samples": len(self.samples)}
        return {
            "memory_growth": self.growth("memory"), "memory_mb_by_tenths": self.tenths("memory"),
            "worker_memory_growth": self.growth("worker_memory"),
            "worker_memory_mb_by_tenths": self.tenths("worker_memory"),
            "worker_blocks_growth": self.growth("worker_blocks"), "file_handle_growth": self.handle_growth(),
            "samples": len(self.samples),
        }  # fmt: skip

    def tenths(self, name: str) -> list[float]:
        """Megabytes, tenth by tenth of the run."""
        cut = [self.samples[len(self.samples) * i // 10 : len(self.samples) * (i + 1) // 10] for i in range(10)]
        return [round(_resting([getattr(sample, name) for sample in part]) / 2**20, 1) for part in cut if part]

    def resting(self, name: str) -> tuple[float, float]:
        """In the second quarter of the run, and in the last."""
        early, late = ([getattr(sample, name) for sample in part] for part in self.quarters())
        return _resting(early), _resting(late)

    def growth(self, name: str) -> float:
        """Relative, from the second quarter of the run to the last."""
        early, late = self.resting(name)
        return round(late / early - 1, 4)

    def handle_growth(self) -> int:
        """File handles more in the last quarter than in the second."""
        early, late = (statistics.median(sample.file_handle for sample in part) for part in self.quarters())
        return round(late - early)

    def quarters(self) -> tuple[list[Sample], list[Sample]]:
        """The second and the last: in the first everything is loaded."""
        quarter = len(self.samples) // 4
        return self.samples[quarter : 2 * quarter], self.samples[-quarter:]

    def judge(self) -> None:
        """Growth is a fault, once there are enough samples to tell."""
        if len(self.samples) < 40:
            return
        share = GROWTH_ALLOWED if len(self.samples) >= LONG else SHORT_ALLOWED
        worker = max(GROWTH_ALLOWED * self.resting("worker_memory")[0], ARENA)
        for name, allowed in (
            ("memory", share * self.resting("memory")[0]), ("worker_memory", worker),
            ("worker_blocks", BLOCKS_ALLOWED * self.resting("worker_blocks")[0]),
        ):  # fmt: skip
            early, late = self.resting(name)
            if late - early > allowed:
                self.faults.append(f"{name} grew from {early:,.0f} to {late:,.0f}, allowed are {allowed:,.0f} more")
        if (more := self.handle_growth()) > HANDLES_ALLOWED:
            self.faults.append(f"{more} file handles more at the end")


def own_memory(pid: int) -> int:
    """Bytes that the process itself asked for: without libraries, whose pages count or not as others load them too."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024


def _resting(values: list[int]) -> float:
    """The lowest tenth: what a process holds between merges, while DuckDB holds nothing."""
    return statistics.quantiles(values, n=10)[0] if len(values) > 1 else float(values[0])


def kill_worker(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """As the kernel does when memory is short."""
    with suppress(ProcessLookupError):
        os.kill(soak.workers[-1], signal.SIGKILL)


def freeze_worker(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """For a second; the steady one too."""
    _freeze(soak.dice.choice([soak.workers[-1], soak.steady]))


def freeze_run(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """A laptop that is closed."""
    _freeze(run.pid)


def set_clock(soak: Soak, run: subprocess.Popen[bytes]) -> None:
    """By seconds, hours or a month, forwards and backwards, under the run and its workers."""
    if soak.clock is not None:
        _set(soak.clock, soak.dice.choice([1, -1]) * soak.dice.choice([0, 2, 3600, 86_400, 30 * 86_400]))


def _set(clock: Path, seconds: int) -> None:
    with clock.open("r+b") as file:
        file.write(struct.pack("q", seconds))


def settable_clock(folder: Path) -> Path | None:
    """A clock file for `wall_clock.c`; None where there is no compiler or no such loading."""
    compiler, clock = shutil.which("cc"), folder / "clock"
    if compiler is None or sys.platform != "linux":
        return None
    library = str(clock.with_suffix(".so"))
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, str(HERE / "wall_clock.c"), "-ldl"], check=True)
    clock.write_bytes(bytes(8))
    return clock


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
    kill_worker, kill_worker, freeze_worker, freeze_run, set_clock, second_run, notebook, ask,
]  # fmt: skip


def endure(soak: Soak, pause: float, progress: Path | None = None) -> None:
    """The run from its start to its end, with a fault every `pause` seconds or so."""
    run = soak.start(0, soak.count)
    ears = threading.Thread(target=soak.listen, args=(run,), daemon=True)
    ears.start()
    while run.poll() is None and not (soak.workers and soak.steady and soak.database.exists()):
        time.sleep(0.1)
    scales = threading.Thread(target=soak.weigh_often, args=(run, progress), daemon=True)
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


def kill_and_call_again(soak: Soak) -> None:
    """`kill -9` of a run in the midst, then the same call, and no trial that was acknowledged begins again."""
    acknowledged: set[str] = set()
    for _ in range(100):
        run = soak.start(soak.count + 20, AGAIN)
        timer = threading.Timer(soak.dice.uniform(2, 6), run.kill)
        timer.start()
        out = run.communicate(timeout=300)[0].decode()
        timer.cancel()
        told = [line.split() for line in out.splitlines(keepends=True) if line.endswith("\n")]
        if again := acknowledged & {words[1] for words in told if words[0] == "started"}:
            soak.faults.append(f"{len(again)} acknowledged trials began again after kill -9")
        acknowledged |= {words[1] for words in told if words[0] == "finished"}
        if run.returncode != -signal.SIGKILL:
            return
        soak.done["kill_run"] += 1
    soak.faults.append("a run that is killed again and again never comes to its end")


def settle(soak: Soak) -> dict[str, int]:
    """End what still runs, run the rest of what the killed second runs left, look at every row."""
    for child in soak.children:
        _, errors = child.communicate(timeout=300)
        if child.returncode not in (0, 1, -signal.SIGKILL):
            soak.faults.append(f"a reader or second run ended with {child.returncode}: {(errors or b'')[-200:]!r}")
    last = soak.start(soak.count - 20, 40)
    last.communicate(timeout=300)
    kill_and_call_again(soak)
    store = Store(soak.database)
    store.merge(wait_seconds=10)
    soak.faults += [line for line in store.check() if "no end" not in line]
    planned = [trial.id for trial in trials(0, soak.count + 20 + AGAIN)]
    ended = store.finished(planned)
    if len(ended) != len(planned):
        soak.faults.append(f"{len(planned) - len(ended)} of {len(planned)} planned trials have no row")
    with open_results(soak.database) as results:
        if results.query("select count(*) - count(distinct trial_id) as n from trials").item():
            soak.faults.append("a trial has two rows")
        seconds = results.query("select min(seconds), max(seconds) from trials").row(0)
        if not 0 <= seconds[0] <= seconds[1] <= TIMEOUT_SECONDS + 5:
            soak.faults.append(f"a trial took {seconds[0]} or {seconds[1]} s")
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
    parser.add_argument("--progress", type=Path, help="A file for the memory so far, a line, every minute.")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        soak = Soak(folder / "runs" / "results.duckdb", int(given.minutes * TRIALS_A_MINUTE), random.Random(given.seed))
        soak.clock = settable_clock(folder)
        endure(soak, given.pause, given.progress)
        rows = settle(soak)
        disk = full_disk(soak, folder)
    soak.judge()
    told = {
        "minutes": round((time.monotonic() - started) / 60, 1), "rows": rows, "deeds": dict(soak.done),
        **soak.weights(), "clock": "set" if soak.clock else "left alone: no compiler here",
        "full_disk": disk, "faults": soak.faults,
    }  # fmt: skip
    print(json.dumps(told, indent=1))
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
