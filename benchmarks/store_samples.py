"""Made-up runs and results for the store's tests and benchmarks: plausible sizes, seeded numbers, no torch."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import Any

from prunebench import records

DATASET, MODEL = records.Choice("toy_digits"), records.Choice("tiny", {"width": 8})
PROVENANCE = records.Provenance(
    prunebench="0.1.0",
    python="3.11.7",
    torch="2.15.0",
    packages={"numpy": "2.4"},
    plugins={"low_rank": "prunebench 0.1.0"},
    host="bench-1",
    os="Linux",
    cpu="Some CPU",
    core_count=2,
    memory_bytes=1 << 34,
    device="cpu",
    threads=1,
    load_average=0.5,
    dense_hash="d" * 64,
    dataset_fingerprint="f" * 16,
)


def run(identity: str = "run-1", **facts: Any) -> records.Run:
    """A run's record."""
    return records.Run(
        identity, **({"name": "toy", "started_at": "2026-01-02T03:04:05+00:00", "command": "bench run"} | facts)
    )


def trial(rank: int | None = 4, seed: int = 0, **changes: Any) -> records.Trial:
    """A low-rank trial, or the dense one for rank None."""
    method = records.DENSE if rank is None else records.Choice("low_rank", {"rank": rank, "keep": 0.5})
    return replace(records.Trial(DATASET, MODEL, method, seed, records.Protocol()), **changes)


def latency(batch: int, speedup: float, rng: random.Random, blocks: int = 40) -> records.Latency:
    """One batch size, timed in `blocks` blocks per side."""
    dense = tuple(10 + rng.random() for _ in range(blocks))
    pruned = tuple(value / speedup for value in dense)
    return records.Latency(
        batch=batch, threads=1, device="cpu", dtype="float32", memory_format="contiguous", compile=False, clock="cpu",
        calls_per_block=5, dense_ms=dense, pruned_ms=pruned, dense_wall_ms=dense, pruned_wall_ms=pruned,
        round_index=(0,) * blocks, cold_dense_ms=20.0, cold_pruned_ms=21.0, speedup=speedup,
        speedup_low=speedup * 0.98, speedup_high=speedup * 1.02, latency_ms=10 / speedup, latency_p90_ms=11 / speedup,
        latency_p99_ms=None, dense_latency_ms=10.0, throughput=batch * speedup * 100, contention=0.0, seconds=1.0,
        stopped="groups", conditions={"load": 0.5},
    )  # fmt: skip


def correct_bits(accuracy: float, count: int, rng: random.Random) -> str:
    """A bitmap of `count` test samples, base64."""
    bits = "".join("1" if rng.random() < accuracy else "0" for _ in range(count))
    return base64.b64encode(int(bits.ljust(-(-count // 8) * 8, "0"), 2).to_bytes(-(-count // 8), "big")).decode()


def measurement(
    seed: int = 0, speedup: float = 1.5, accuracy: float = 0.9, tests: int = 200, **changes: Any
) -> records.Measurement:
    """What a network scored."""
    rng = random.Random(seed)
    made = records.Measurement(
        test_count=tests, top1_accuracy=accuracy + rng.uniform(-0.01, 0.01), top5_accuracy=0.99, loss=0.3,
        correct=correct_bits(accuracy, tests, rng), top1_accuracy_before_finetune=accuracy - 0.1,
        parameter_count=1000, nonzero_parameter_count=800, mac_count=5000, stored_bytes=4000, gzip_bytes=3500,
        prune_seconds=0.1, finetune_seconds=1.0, train_seconds=10.0, peak_memory_bytes=1 << 20, realised=True,
        storage={"dense": 4000}, latency=(latency(1, speedup, rng), latency(64, speedup, rng)),
        layers=(
            records.LayerRecord("fc", "linear", (10, 20), ((10, 4), (4, 20)), 4, 210, 130, 130, 200, 120, 0.1, 0.05),
        ),
        curve=(records.CurvePoint("finetune", 1, 0.5, 0.4, 0.9, 1.0),),
        stages=(records.StageRecord(0, "low_rank", 1000, 800, 5000, 0.9, 0.1, 4000),),
        metrics=(records.Metric("energy", 1.5, "J"),), counting_rule=records.COUNTING_RULE,
    )  # fmt: skip
    return replace(made, **changes)


def result(of: records.Trial, accuracy: float = 0.9, **changes: Any) -> records.Result:
    """An ok result of the trial."""
    dense = of.method == records.DENSE
    facts = {"parameter_count": 2000, "nonzero_parameter_count": 2000, "mac_count": 10000} if dense else {}
    made = measurement(of.seed + 1, 1.003 if dense else 1.5, accuracy, **facts)
    return replace(
        records.Result(of, "ok", "", "", made, PROVENANCE, "2026-01-02T03:05:00+00:00", 12.5),
        **changes,
    )
