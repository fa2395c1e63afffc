"""A small database of made-up results, dense and two methods, to try charts and SQL on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from prunebench.records import (
    COUNTING_RULE,
    DENSE,
    Choice,
    CurvePoint,
    Latency,
    LayerRecord,
    Measurement,
    Metric,
    Protocol,
    Provenance,
    Result,
    Run,
    Trial,
)
from prunebench.store import Store

PARAMETERS, MACS, BLOCKS = 10_000, 200_000, 8
STARTED = "2026-01-05T10:00:00+00:00"


def sample_database(folder: Path) -> Path:
    """A database in `folder` that holds one run: two methods at three settings, two seeds, one cell declined."""
    path, results = folder / "results.duckdb", list(sample_results())
    trials = tuple(result.trial.id for result in results)
    journal = Store(path).open_run(Run(id="sample-1", name="sample", started_at=STARTED, grid="", command="bench run",
                                       trial_count=len(trials), trial_ids=trials))  # fmt: skip
    try:
        for result in results:
            journal.append(result)
    finally:
        journal.close()
    return path


def sample_results() -> Iterator[Result]:
    """The results of that run."""
    for seed in range(2):
        yield _result(DENSE, 1.0, seed)
        for name in ("magnitude", "random"):
            for compression in (2.0, 4.0, 8.0):
                yield _result(Choice(name, {"keep": 1 / compression}), compression, seed)
        declined = Trial(Choice("digits"), Choice("lenet5"), Choice("svd", {"rank": 1}), seed, Protocol())
        yield Result(declined, "skipped", "rank 1 saves nothing", "", None, _provenance(), STARTED, 0.1)


def _provenance() -> Provenance:
    return Provenance(prunebench="0", python="3", torch="2", packages={}, plugins={}, git_commit="", host="sample",
                      os="Linux", cpu="CPU", core_count=1, memory_bytes=1 << 30, device="cpu", threads=1,
                      dense_hash="ab" * 32, dataset_fingerprint="cd" * 32)  # fmt: skip


def _result(method: Choice, compression: float, seed: int) -> Result:
    trial = Trial(Choice("digits"), Choice("lenet5"), method, seed, Protocol())
    measured = _measurement(method, compression, seed)
    return Result(trial, "ok", "", "", measured, _provenance(), STARTED, 1.0)


def _measurement(method: Choice, compression: float, seed: int) -> Measurement:
    accuracy = 0.95 - 0.02 * math.log2(compression) - 0.005 * seed
    left = round(PARAMETERS / compression)
    layer = LayerRecord("fc1", "linear", (100, 100), ((100, 100),), rank=round(100 / compression),
                        parameter_count_before=PARAMETERS, parameter_count_after=PARAMETERS,
                        nonzero_parameter_count_after=left, mac_count_before=MACS, mac_count_after=MACS,
                        weight_error=1 - 1 / compression, output_error=0.1)  # fmt: skip
    return Measurement(
        test_count=360, top1_accuracy=accuracy, top5_accuracy=1.0, loss=0.2, correct="",
        top1_accuracy_before_finetune=accuracy - 0.01, parameter_count=PARAMETERS, nonzero_parameter_count=left,
        mac_count=round(MACS / compression), stored_bytes=4 * left, gzip_bytes=4 * left, prune_seconds=0.05,
        finetune_seconds=0.5, train_seconds=2.0, peak_memory_bytes=1 << 20, realised=False, storage={},
        latency=tuple(_latency(batch) for batch in (1, 64)), layers=() if method == DENSE else (layer,),
        curve=tuple(CurvePoint("finetune", epoch, 1 / epoch, 1 / epoch, accuracy, 0.1) for epoch in (1, 2)),
        achieved={}, metrics=(Metric("agreement.top1", accuracy, "fraction"),), counting_rule=COUNTING_RULE,
    )  # fmt: skip


def _latency(batch: int) -> Latency:
    times = tuple(0.1 * batch * (1 + place / 100) for place in range(BLOCKS))
    return Latency(
        batch=batch, threads=1, device="cpu", dtype="float32", memory_format="contiguous", compile=False, clock="cpu",
        calls_per_block=1, dense_ms=times, pruned_ms=times, dense_wall_ms=times, pruned_wall_ms=times,
        round_index=(0,) * BLOCKS, cold_dense_ms=1.0, cold_pruned_ms=1.0, speedup=1.0, speedup_low=0.9,
        speedup_high=1.1, latency_ms=times[0], latency_p90_ms=times[-1], latency_p99_ms=None, dense_latency_ms=times[0],
        throughput=1000.0, contention=0.0, seconds=0.1, stopped="groups",
    )  # fmt: skip
