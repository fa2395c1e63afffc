"""How busy a grid of 200 trials keeps the cards of this machine: NVML's figures, sampled while it runs.

    python benchmarks/gpu_grid.py [--devices cuda] [--seeds 10] [--epochs 30]

Two networks on digits, ten methods each, every trial with training, fine-tuning and timing, as `bench run` does them.
Utilisation is the share of time in which any kernel ran, as NVML counts it; it needs `prunebench[gpu]`. Small networks
leave a large card mostly idle, so the trials a minute are the figure that counts for them. Without CUDA it says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from prunebench.engine.executors import Finished
from prunebench.engine.executors.devices import resolve
from prunebench.engine.session import run
from prunebench.errors import DeviceError, PruneBenchError
from prunebench.grid.grid import Grid

SAMPLE_SECONDS = 0.25
GRID = """
[protocol]
train = {{ epochs = {epochs}, batch_size = 64, lr = 2e-3 }}
finetune = {{ epochs = 2, batch_size = 64, lr = 1e-3 }}
latency = {{ batch = [64], max_seconds = 0.25 }}
[[block]]
dataset = "digits"
model = ["simple_fcn", "lenet5"]
seed = {{ range = [0, {seeds}] }}
method = [
    "dense",
    {{ use = "random", keep = [0.5, 0.2] }},
    {{ use = "magnitude", keep = [0.5, 0.2, 0.1, 0.05] }},
    {{ use = "low_rank", rank_ratio = [0.5, 0.25, 0.1] }},
]
"""


class Sampler(threading.Thread):
    """Asks NVML how busy each card is, and how much of its memory is used, until told to stop."""

    def __init__(self, cards: dict[str, str]) -> None:
        super().__init__(daemon=True)
        import pynvml

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._handles = {name: self._handle(card) for name, card in cards.items()}
        self._is_over = threading.Event()
        self.busy: dict[str, list[int]] = {name: [] for name in cards}
        self.memory: dict[str, list[int]] = {name: [] for name in cards}

    def _handle(self, card: str) -> Any:
        if card.isdecimal():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(card))
        return self._nvml.nvmlDeviceGetHandleByUUID(card)

    def run(self) -> None:
        """Until `stop`."""
        while not self._is_over.wait(SAMPLE_SECONDS):
            for name, handle in self._handles.items():
                with contextlib.suppress(self._nvml.NVMLError):  # a part of a card has no utilisation
                    self.memory[name].append(self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
                    self.busy[name].append(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    def stop(self) -> dict[str, dict[str, float]]:
        """What was seen, by card."""
        self._is_over.set()
        self.join()
        return {
            name: {
                "samples": len(busy),
                "utilisation_mean_percent": round(statistics.fmean(busy), 1),
                "utilisation_median_percent": statistics.median(busy),
                "memory_used_at_most_mib": max(self.memory[name]) >> 20,
            }
            for name, busy in self.busy.items()
            if busy
        }


def sampler(cards: dict[str, str]) -> Sampler | str:
    """One that runs, or why there is none."""
    try:
        started = Sampler(cards)
    except Exception as error:  # of NVML, which may not be there at all
        return f"not sampled: {type(error).__name__}: {error}; install prunebench[gpu]"
    started.start()
    return started


def measured(devices: str, seeds: int, epochs: int) -> dict[str, Any]:
    """One run of the grid, in figures; on a CPU no card is looked at."""
    slots = resolve(devices)
    trials_by_card: Counter[str] = Counter()

    def count(event: Any) -> None:
        if isinstance(event, Finished):
            trials_by_card[event.slot] += 1

    grid = Grid.parse(GRID.format(seeds=seeds, epochs=epochs), name="gpu_grid", source="gpu_grid")
    cards = {slot.name: slot.visible or "" for slot in slots if slot.device.startswith("cuda")}
    watching = sampler(cards) if cards else "not sampled: no card"
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "results.duckdb"
        outcome = run(grid, db=database, devices=devices, report=False, on_event=count)
    return {
        "trials": outcome.planned_count,
        "statuses": outcome.statuses,
        "seconds": round(outcome.seconds, 1),
        "trials_a_minute": round(60 * outcome.planned_count / outcome.seconds, 1),
        "trials_by_card": dict(trials_by_card),
        "cards": watching if isinstance(watching, str) else watching.stop(),
    }


def main() -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="cuda")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    try:
        if not all(slot.device.startswith("cuda") for slot in resolve(given.devices)):
            raise DeviceError(f"{given.devices!r} is no CUDA device: give cuda or cuda:0,cuda:1")
        print(json.dumps(measured(given.devices, given.seeds, given.epochs), indent=2))
    except PruneBenchError as error:
        print(f"gpu_grid: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
