"""Runs of one database while the plugin is edited, with other thread counts, two at a time, killed at random.

`python benchmarks/soak_identity.py --rounds 10` writes a plugin of a file and a helper beside it. In each round the
helper is edited, before the runs or in their midst; one or two runs start, which share a device; some are killed.
The last lines are the figures for docs/faults.md. It fails unless, at the end,

- the row of every planned trial has the number that today's helper and the trial's own threads give: none is stale;
- equal code in a row means an equal number, also in the history: none is mixed;
- every result that a run acknowledged is there: none is lost.

Workers need no torch: a trial's loss is the helper's number and its threads, and its code is what a real row has.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import store_samples as samples
from prunebench.engine.executors import Finished, RetryPolicy, Slot, Waiting, WorkSettings
from prunebench.engine.executors.local import LocalExecutor
from prunebench.engine.session import Outcome, Prepared, execute, prepare
from prunebench.plugins.code import EDITED, Codes, now
from prunebench.plugins.discovery import find_installed
from prunebench.records import Provenance, Result, Trial
from prunebench.store import open_results

HERE = Path(__file__).parent
TRIALS = 12  # of a grid
TRIAL_SECONDS = 0.15
PLUGIN = '''
from dataclasses import dataclass
from helper import VALUE
from prunebench import Dataset, Method, Model, hookimpl, param

@dataclass(frozen=True)
class Drops(Dataset):
    """Nothing is loaded from it."""
    name = "drops"
    class_count = 2
    def load(self, input_shape, folder): raise NotImplementedError

@dataclass(frozen=True)
class Thin(Model):
    """Nothing is built of it."""
    name = "thin"
    input_shape = (1, 2, 2)
    def build(self, class_count): raise NotImplementedError

@dataclass(frozen=True)
class Edited(Method):
    """Its number is that of the helper."""
    name = "edited"
    i: int = param(0, "which one", at_least=0)
    value = VALUE
    def prune(self, network, task): return network

@hookimpl
def datasets(): return [Drops]
@hookimpl
def models(): return [Thin]
@hookimpl
def methods(): return [Edited]
'''
GRID = """
name = "threads-THREADS"
[protocol]
threads = THREADS
latency = { batch = [] }
[[block]]
dataset = "drops"
model = "thin"
seed = 0
method = { use = "edited", i = { range = [0, TRIALS] } }
"""


def open_workbench(settings: dict[str, Any], device: str, progress: Any) -> Workbench:
    """What a worker asks for."""
    return Workbench(tuple(map(Path, settings["plugin_files"])), int(settings["threads_per_slot"]))


class Workbench:
    """Answers with the numbers that it has loaded, and says of which code they are."""

    def __init__(self, plugins: tuple[Path, ...], threads: int) -> None:
        loaded_at = now()
        self.installed, self.threads = find_installed(plugins), threads
        self.codes = Codes(self.installed, loaded_at)

    def run_trial(self, trial: Trial) -> Result:
        """Its loss is the number of the code that runs it, and its threads."""
        time.sleep(TRIAL_SECONDS)
        value = self.installed.find("method", "edited").cls.value
        measured = replace(samples.measurement(), loss=number(value, self.threads))
        self.codes.known.clear()  # a file may have been edited since the last trial
        provenance = Provenance(threads=self.threads, code=self.codes.of_trial(trial))
        return Result(trial, "ok", measurement=measured, provenance=provenance, seconds=TRIAL_SECONDS)


def number(value: int, threads: int) -> float:
    """What a trial's loss has to be."""
    return value + threads / 10


class Place:
    """A folder with the plugin, its grids and the database."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.value = folder, 0
        self.database = folder / "runs" / "results.duckdb"
        (folder / "plugin.py").write_text(PLUGIN)
        for threads in (1, 2):
            text = GRID.replace("THREADS", str(threads)).replace("TRIALS", str(TRIALS))
            (folder / f"threads-{threads}.toml").write_text(text)
        self.edit()

    def edit(self) -> None:
        """Another number, in one step."""
        self.value += 1
        part = self.folder / "helper.part"
        part.write_text(f"VALUE = {self.value}\n")
        os.replace(part, self.folder / "helper.py")

    def prepared(self, threads: int) -> Prepared:
        """What is to do of the grid with so many threads."""
        return prepare(
            self.folder / f"threads-{threads}.toml", db=self.database, plugin_files=(self.folder / "plugin.py",)
        )

    def run(self, threads: int) -> subprocess.Popen[str]:
        """A run in a process of its own."""
        command = [sys.executable, __file__, "--run", str(threads), "--folder", str(self.folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run(folder: Path, threads: int) -> None:
    """As `bench run` does after planning, on a device that all runs share; prints what it acknowledged."""
    os.environ["PYTHONPATH"] = str(HERE)
    place = Place.__new__(Place)
    place.folder, place.database = folder, folder / "runs" / "results.duckdb"
    prepared = place.prepared(threads)
    settings = WorkSettings(
        str(folder), str(folder / "checkpoints"), (str(folder / "plugin.py"),), threads_per_slot=threads
    )
    slots = [Slot("cpu:0", "cpu", visible="", threads=threads, leases=(str(folder / "device.lock"),))]
    workers = LocalExecutor(slots, settings, RetryPolicy(), "soak_identity:open_workbench")

    def tell(event: Any) -> None:
        if isinstance(event, Finished):
            print("finished", event.result.trial.id, flush=True)
        if isinstance(event, Waiting) and event.text:
            print("waiting", flush=True)

    place.database.parent.mkdir(exist_ok=True)
    if prepared.todo:
        execute(prepared, workers, Outcome("soak", place.database, len(prepared.plan.trials), 0), tell)
    print("end", flush=True)


def rough_round(place: Place, dice: random.Random, deeds: Counter[str], told: Counter[str]) -> None:
    """One or two runs, an edit before or amid them, perhaps a kill."""
    if dice.random() < 0.5:
        place.edit()
        deeds["edit before"] += 1
    counts = dice.choice([(1,), (2,), (1, 2), (1, 1)])
    runs = [place.run(threads) for threads in counts]
    deeds["two runs" if len(counts) == 2 else "one run"] += 1
    timers = []
    if dice.random() < 0.6:
        timers.append(threading.Timer(dice.uniform(1, 12), place.edit))
        deeds["edit amid"] += 1
    if dice.random() < 0.5:
        timers.append(threading.Timer(dice.uniform(2, 15), runs[0].kill))
        deeds["kill -9"] += 1
    for timer in timers:
        timer.start()
    for process in runs:
        hear(process, deeds, told)
    for timer in timers:
        timer.join()


def hear(process: subprocess.Popen[str], deeds: Counter[str], told: Counter[str]) -> None:
    """Count what a run acknowledged, whole lines only."""
    for line in process.communicate()[0].splitlines(keepends=True):
        word, _, rest = line.strip().partition(" ")
        if word == "finished" and line.endswith("\n"):
            told[rest] += 1
        deeds["waited for the other"] += word == "waiting"


def judged(place: Place, told: Counter[str]) -> dict[str, Any]:
    """What is stale, mixed or lost."""
    planned = {trial.id: threads for threads in (1, 2) for trial in place.prepared(threads).plan.trials}
    with open_results(place.database) as results:
        now_rows = dict(results.query("select trial_id, loss from trials").rows())
        history = results.query(
            "select r.trial_id, r.loss, p.code::varchar from result as r join provenance as p on p.id = r.provenance"
        ).rows()
    stale = [key for key, threads in planned.items() if now_rows.get(key) != number(place.value, threads)]
    whole = [(key, loss, code) for key, loss, code in history if EDITED not in code]
    numbers: dict[tuple[str, int], set[float]] = {}
    for key, loss, code in whole:
        numbers.setdefault((code, planned.get(key, 1)), set()).add(loss)
    kept = Counter(key for key, _, _ in history)
    return {
        "planned": len(planned), "results": len(history), "kinds of code": len(numbers),
        "made by a file edited meanwhile": len(history) - len(whole), "stale": len(stale),
        "mixed": sum(len(found) > 1 for found in numbers.values()),
        "lost": sum(max(0, count - kept[key]) for key, count in told.items()),
    }  # fmt: skip


def main() -> int:
    """0 when no row is stale, none mixed, none lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        run(given.folder, given.run)
        return 0
    dice, deeds, told = random.Random(given.seed), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        place = Place(Path(name))
        for _ in range(given.rounds):
            rough_round(place, dice, deeds, told)
        for threads in (1, 2, 1, 2):  # in peace: what was edited amid a run runs again
            hear(place.run(threads), deeds, told)
        found = judged(place, told)
    print(json.dumps({"rounds": given.rounds, "deeds": dict(deeds), **found}, indent=1))
    return 1 if found["stale"] or found["mixed"] or found["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
