"""What a second CPU slot is worth: one grid with one slot and with two, with latency measured on the way.

    python benchmarks/slots.py [--epochs 8] [--networks 12] [--rounds 2] [--skip-latency]

Prints how many networks are trained a second, from when every slot has one behind it (the first one pays for imports
and data): two slots on two idle cores should give 1.6 times as many. Then the measured speed-ups side by side: timing
has the machine to itself, so that their intervals should overlap. The load average is printed because a neighbour's
load is seen in all of this.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence

from prunebench.engine.executors import Finished, WorkSettings, make_executor
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.records import Result, Trial

GRID = """
name = "slots"
[protocol]
train = {{ epochs = {epochs} }}
latency = {{ batch = {batch} }}
[[block]]
dataset = "digits"
model = "lenet5"
seed = {{ range = [0, {networks}] }}
method = [{methods}]
"""


def trials_of(epochs: int, networks: int, batch: Sequence[int]) -> tuple[Trial, ...]:
    """A grid whose time goes into the training of `networks` networks."""
    methods = '{ use = "dense" }' + (', { use = "svd", keep = 0.2 }' if batch else "")
    text = GRID.format(epochs=epochs, networks=networks, batch=list(batch), methods=methods)
    return plan(Grid.parse(text, name="slots", source="slots"), find_installed()).trials


def measured(slots: int, trials: Sequence[Trial]) -> tuple[float, list[Result]]:
    """Trials a second in the steady state, and the results; checkpoints start empty."""
    with tempfile.TemporaryDirectory() as folder:
        settings = WorkSettings(data_dir=folder, checkpoints=folder, threads_per_slot=1)
        results, ends, warm = [], [], set[str]()
        for event in make_executor("local", f"cpu:{slots}", settings).run(trials):
            if isinstance(event, Finished):
                results.append(event.result)
                warm.add(event.slot)
                if len(warm) == slots:
                    ends.append(time.monotonic())
        return (len(ends) - 1) / max(ends[-1] - ends[0], 1e-9), results


def intervals(results: Sequence[Result]) -> dict[str, tuple[float, float, float]]:
    """The speed-up of every timed trial with its interval."""
    return {
        f"{result.trial.method.label} seed {result.trial.seed} batch {one.batch}": (
            round(one.speedup_low, 3),
            round(one.speedup, 3),
            round(one.speedup_high, 3),
        )
        for result in results
        if result.measurement is not None
        for one in result.measurement.latency
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--skip-latency", action="store_true")
    given = parser.parse_args()
    training = trials_of(given.epochs, given.networks, ())
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(given.rounds):
        for slots in (1, 2):
            rates[slots].append(measured(slots, training)[0])
    batch = () if given.skip_latency else (1, 64)
    timed = {slots: measured(slots, trials_of(1, 2, batch))[1] if batch else [] for slots in (1, 2)}
    latency = {slots: intervals(results) for slots, results in timed.items()}
    pairs = {name: (latency[1][name], latency[2][name]) for name in latency[1]}
    figures = {
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "networks_a_second_one_slot": [round(rate, 3) for rate in rates[1]],
        "networks_a_second_two_slots": [round(rate, 3) for rate in rates[2]],
        "times_as_fast": round(max(rates[2]) / max(rates[1]), 3),
        "speedups_low_mid_high_one_slot_two_slots": pairs,
        "intervals_that_overlap": sum(a[0] <= b[2] and b[0] <= a[2] for a, b in pairs.values()),
        "intervals": len(pairs),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
