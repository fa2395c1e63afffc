"""Appends and merges until it is killed: a line an acknowledged result. Arguments: DATABASE NUMBER."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import store_samples as samples
from prunebench.store import Store


def main() -> None:
    store, number = Store(Path(sys.argv[1])), int(sys.argv[2])
    with store.open_run(samples.run(f"run-{number}")) as journal:
        for seed in itertools.count(number * 10_000):
            journal.append(samples.result(samples.trial(seed=seed)))
            print(seed, flush=True)
            if seed % 5 == 0:
                store.merge(wait_seconds=0.05)


if __name__ == "__main__":
    main()
