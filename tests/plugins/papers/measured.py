"""Results as the trials of a grid might leave them, by formula and without training: material for claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunebench.grid.grid import Grid
from prunebench.records import Latency, LayerRecord, Measurement, Provenance, Result, Run, Trial
from prunebench.store import Results, Store, open_results

Facts = Callable[[Trial], dict[str, Any]]
PROVENANCE = Provenance(python="3.11", torch="2", host="here", cpu="cpu", core_count=2, device="cpu", dense_hash="ab")


def stored(
    folder: Path, grid: Grid, trials: Sequence[Trial], facts: Facts, scale: str = "offline", run_id: str = "run-1"
) -> Results:
    """The results of one run of `grid`, each measured as `facts` says."""
    store = Store(folder / "results.duckdb")
    claims = tuple({"text": claim.text, "sql": claim.sql, "why": claim.why} for claim in grid.claims)
    ids = tuple(trial.id for trial in trials)
    run = Run(run_id, grid.name, "2026-01-05T10:00:00+00:00", scale=scale, trial_ids=ids, claims=claims)
    journal = store.open_run(run)
    for trial in trials:
        journal.append(result(trial, facts(trial)))
    journal.close()
    store.merge()
    return open_results(store.path, run=run_id)


def result(trial: Trial, facts: dict[str, Any]) -> Result:
    """`trial`, ended ok; `facts` are fields of the measurement, `speedup`, and `data`, the protocol that data tell."""
    speedup = facts.pop("speedup", 1.0)
    data = facts.pop("data", {})
    usual: dict[str, Any] = {
        "test_count": 1000,
        "top1_accuracy": 0.9,
        "top5_accuracy": 0.99,
        "loss": 0.4,
        "correct": "",
        "top1_accuracy_before_finetune": 0.5 if trial.method.use != "dense" else None,
        "parameter_count": 1000,
        "nonzero_parameter_count": 1000,
        "mac_count": 10_000,
        "stored_bytes": 4000,
        "gzip_bytes": 3600,
        "prune_seconds": 0.1,
        "finetune_seconds": 0.0,
        "train_seconds": 1.0,
        "peak_memory_bytes": None,
        "realised": True,
        "latency": tuple(latency(batch, speedup) for batch in trial.protocol.latency.batch),
        "layers": tuple(layers(trial)),
    }
    return Result(
        trial,
        "ok",
        measurement=Measurement(**{**usual, **facts}),
        provenance=replace(PROVENANCE, data=data),
        started_at="2026-01-05T10:00:01+00:00",
        seconds=1.0,
    )


def latency(batch: int, speedup: float) -> Latency:
    """Dense at 10 ms."""
    pruned = 10 / speedup
    return Latency(
        batch=batch,
        threads=1,
        device="cpu",
        dtype="float32",
        memory_format="contiguous",
        compile=False,
        clock="cpu",
        calls_per_block=1,
        dense_ms=(10.0, 10.0),
        pruned_ms=(pruned, pruned),
        dense_wall_ms=(10.0, 10.0),
        pruned_wall_ms=(pruned, pruned),
        round_index=(0, 0),
        cold_dense_ms=20.0,
        cold_pruned_ms=20.0,
        speedup=speedup,
        speedup_low=speedup * 0.98,
        speedup_high=speedup * 1.02,
        latency_ms=pruned,
        latency_p90_ms=pruned,
        latency_p99_ms=None,
        dense_latency_ms=10.0,
        throughput=100.0,
        contention=0.0,
        seconds=1.0,
        stopped="precision",
    )


def layers(trial: Trial) -> Iterable[LayerRecord]:
    """Of a low-rank trial, one linear layer of 4096 by 4096 with its bias."""
    rank = trial.method.params.get("rank")
    if trial.method.use == "low_rank" and isinstance(rank, int):
        after = rank * 8192 + 4096
        yield LayerRecord(
            "fc",
            "linear",
            (4096, 4096),
            ((rank, 4096), (4096, rank)),
            rank=rank,
            parameter_count_before=4096 * 4096 + 4096,
            parameter_count_after=after,
            nonzero_parameter_count_after=after,
        )
