"""A grid of small trials on one device: how many a minute, and how busy the card is meanwhile."""

from __future__ import annotations

from gpu_grid import measured

from card.record import Record

TRIALS_A_SEED = 20  # two networks, ten methods each


def run(record: Record) -> None:
    """benchmarks/gpu_grid.py with as many seeds as fit."""
    seeds, epochs = record.size.of((1, 10), (1, 1))
    found = measured("cuda:0" if record.device == "cuda" else "cpu:1", seeds, epochs)
    record.row(seeds=seeds, epochs=epochs, **found)
    record.check("every trial is there", found["trials"] == TRIALS_A_SEED * seeds, found["trials"])
    record.check("every trial is ok", found["statuses"] == {"ok": found["trials"]}, found["statuses"])
    if record.device == "cuda":
        record.check("NVML is asked how busy the card is", not isinstance(found["cards"], str), found["cards"])
