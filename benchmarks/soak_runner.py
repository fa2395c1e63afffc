"""A workbench without torch for soak runs: trials of a tenth of a second, now and then one that misbehaves.

Only `ROUGH_SLOT` loses its workers: the other slot's lives as long as the run, so that it can be weighed.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import store_samples as samples
from prunebench.records import Measurement, Result, Trial

TRIAL_SECONDS = 0.1
COUNT_EVERY = 50  # trials
ROUGH_SLOT = "cpu:1"


def open_workbench(settings: dict[str, Any], device: str, progress: Any) -> Workbench:
    """What a worker asks for."""
    return Workbench(progress, samples.measurement(), Path(settings["data_dir"]))


class Workbench:
    """Sleeps, then answers or dies, by a coin that the trial itself seeds."""

    def __init__(self, progress: Any, measurement: Measurement, folder: Path) -> None:
        self.progress = progress
        self.measurement = measurement
        self.folder = folder
        self.trials = 0

    def run_trial(self, trial: Trial, batch_halved: bool = False) -> Result:
        """The result; `quiet` trials never misbehave."""
        started = time.monotonic()
        coin = random.Random(trial.id).random()
        is_rough = os.environ["PRUNEBENCH_SLOT"] == ROUGH_SLOT
        self.trials += 1
        if not is_rough and self.trials % COUNT_EVERY == 1:
            with suppress(OSError):
                blocks_file(self.folder, os.getpid()).write_text(str(sys.getallocatedblocks()))
        self.progress("prune", 0.5)
        time.sleep(float(trial.method.params.get("seconds", TRIAL_SECONDS)))  # type: ignore[arg-type]
        if is_rough and coin < 0.01:
            ctypes.string_at(0)
        if is_rough and coin < 0.02:
            os._exit(3)
        if coin < 0.03:
            raise ValueError("this method is broken")
        if coin < 0.04:
            print("noise " * 20_000)
        return Result(trial, "ok", measurement=self.measurement, seconds=time.monotonic() - started)


def blocks_file(folder: Path, pid: int) -> Path:
    """Where a steady worker writes how many blocks of memory its objects take."""
    return folder / f"blocks-{pid}"
