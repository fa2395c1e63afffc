"""Results as a real run would leave them, drawn from seeded curves: material for charts, no claim about any method."""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from prunebench.records import (
    DENSE,
    Choice,
    CurvePoint,
    Latency,
    LayerRecord,
    Measurement,
    Protocol,
    Provenance,
    Recipe,
    Result,
    Run,
    Trial,
)

LAYERS = (("conv1", 54), ("conv2", 864), ("fc1", 69120), ("fc2", 10080), ("fc3", 840))
NETWORKS = {"lenet5": (82_554, 640_000), "simple_fcn": (105_214, 105_000)}
BASE = {"digits": 0.982, "rendered_letters": 0.941}
FRAGILITY = {"magnitude": 0.10, "low_rank": 0.16, "pca": 0.28, "random": 0.75}  # accuracy lost per doubling, roughly
REALISED = {"low_rank", "pca"}
PROTOCOL = Protocol(train=Recipe(epochs=8), finetune=Recipe(epochs=3))
PROVENANCE = Provenance(
    prunebench="0.1.0", python="3.11.7", torch="2.15.0", packages={"numpy": "2.4.0"},
    plugins={"low_rank": "prunebench 0.1.0", "magnitude": "prunebench 0.1.0"}, git_commit="0" * 40, host="bench-one",
    os="Linux 6.18", cpu="Example CPU @ 2.6 GHz", core_count=2, memory_bytes=24 << 30, device="cpu", threads=1,
    dense_hash="ab" * 32, dataset_fingerprint="cd" * 32,
)  # fmt: skip
GRID = 'name = "synthetic"\n\n[[block]]\ndataset = ["digits", "rendered_letters"]\nmodel = ["lenet5", "simple_fcn"]\n'


def run_record(name: str = "synthetic", trial_count: int = 0, **facts: Any) -> Run:
    """The run that the results below belong to."""
    usual = {
        "id": f"{name}-1",
        "started_at": "2026-01-05T10:00:00+00:00",
        "grid": GRID,
        "command": "bench run",
        "claims": ({"text": "There is a trial.", "sql": "select count(*) > 0 as held from trials"},),
    }
    return Run(name=name, trial_count=trial_count, **{**usual, **facts})


def grid_results(
    datasets: Sequence[str] = ("digits", "rendered_letters"),
    models: Sequence[str] = ("lenet5", "simple_fcn"),
    methods: Sequence[str] = ("magnitude", "low_rank", "pca", "random"),
    compressions: Sequence[float] = (1.5, 2, 4, 8, 16, 32),
    seeds: int = 3,
    batches: Sequence[int] = (1, 64),
    dense: bool = True,
) -> Iterator[Result]:
    """A product of axes with the dense control; `pca` is declined at the loosest setting and one trial fails."""
    for dataset in datasets:
        for model in models:
            for seed in range(seeds):
                if dense:
                    yield result(dataset, model, DENSE, 1.0, seed, batches)
                for method in methods:
                    for compression in compressions:
                        yield cell(dataset, model, method, compression, seed, batches)


def cell(dataset: str, model: str, method: str, compression: float, seed: int, batches: Sequence[int]) -> Result:
    """One pruned trial, declined or failed where the story says so."""
    choice = method_choice(method, compression)
    if method == "pca" and compression < 2:
        return ended(trial(dataset, model, choice, seed), "skipped", "rank 80 saves nothing here: break-even is 47")
    if method == "low_rank" and compression > 30 and model == "simple_fcn" and seed == 1:
        return ended(trial(dataset, model, choice, seed), "failed", "RuntimeError: svd did not converge", "Traceback …")
    return result(dataset, model, choice, compression, seed, batches)


def method_choice(method: str, compression: float) -> Choice:
    """The method by its own field, or by a target for `low_rank`."""
    if method == "low_rank":
        return Choice(method, {"section": "all"}, {"compression": compression})
    return Choice(method, {"keep": round(1 / compression, 4), "section": "all"})


def trial(dataset: str, model: str, method: Choice, seed: int) -> Trial:
    """A cell of the grid."""
    return Trial(Choice(dataset), Choice(model), method, seed, PROTOCOL)


def ended(asked: Trial, status: Any, reason: str, detail: str = "") -> Result:
    """A trial that left no measurement."""
    return Result(asked, status, reason, detail, None, PROVENANCE, "2026-01-05T10:00:00+00:00", 0.2)


def result(
    dataset: str, model: str, method: Choice, compression: float, seed: int, batches: Sequence[int] = (1, 64)
) -> Result:
    """A measured trial."""
    draw = random.Random(f"{dataset} {model} {method.text} {seed}")
    measured = measurement(draw, dataset, model, method, compression, batches)
    return Result(trial(dataset, model, method, seed), "ok", "", "", measured, PROVENANCE,
                  f"2026-01-05T10:{seed:02}:00+00:00", 1 + draw.random())  # fmt: skip


def measurement(
    draw: random.Random, dataset: str, model: str, method: Choice, compression: float, batches: Sequence[int]
) -> Measurement:
    """Accuracy that falls as an S-curve over log compression, counts by the ratio, times by Amdahl."""
    parameters, macs = NETWORKS.get(model, (50_000, 50_000))
    accuracy = accuracy_at(draw, BASE.get(dataset, 0.95), method.use, compression)
    realised = method.use in REALISED
    left = max(1, round(parameters / compression))
    mac_count = round(macs / compression**0.9)
    achieved = {"compression": parameters / left} if method.target else {}
    return Measurement(
        test_count=360, top1_accuracy=accuracy, top5_accuracy=min(1.0, accuracy + 0.02), loss=1.2 - accuracy,
        correct=base64.b64encode(bytes(45)).decode(), top1_accuracy_before_finetune=max(0.05, accuracy - 0.05),
        parameter_count=left if realised else parameters, nonzero_parameter_count=left, mac_count=mac_count,
        stored_bytes=left * (4 if realised else 5), gzip_bytes=left * 4, prune_seconds=0.01 + draw.random() / 10,
        finetune_seconds=0.4, train_seconds=2.0, peak_memory_bytes=80 << 20, realised=realised or method == DENSE,
        storage={"dense": parameters * 4, "csr": left * 5},
        latency=tuple(latency(draw, batch, compression if realised else 1.0) for batch in batches),
        layers=tuple(layer(draw, name, count, compression) for name, count in LAYERS) if method != DENSE else (),
        curve=tuple(curve(draw, accuracy, method)), achieved=achieved,
    )  # fmt: skip


def accuracy_at(draw: random.Random, base: float, method: str, compression: float) -> float:
    """Between the base accuracy and chance."""
    steepness = FRAGILITY.get(method, 0.2)
    fall = 1 / (1 + math.exp(-(math.log2(compression) * steepness * 6 - 6))) if compression > 1 else 0
    return min(1.0, max(0.08, base - fall * (base - 0.1) + draw.gauss(0, 0.004)))


def latency(draw: random.Random, batch: int, compression: float) -> Latency:
    """Interleaved blocks; a part of the dense time cannot be saved, and small batches are bound by overhead."""
    dense_ms = 0.12 + 0.02 * batch
    fixed = 0.75 if batch == 1 else 0.25
    pruned_ms = dense_ms * (fixed + (1 - fixed) / compression) * (1.06 if compression > 1 else 1.0)
    dense = [dense_ms * math.exp(abs(draw.gauss(0, 0.03))) for _ in range(20)]
    pruned = [pruned_ms * math.exp(abs(draw.gauss(0, 0.03))) for _ in range(20)]
    speedup = math.exp(sorted(math.log(d / p) for d, p in zip(dense, pruned, strict=True))[10])
    ordered = sorted(pruned)
    return Latency(
        batch=batch, threads=1, device="cpu", dtype="float32", memory_format="contiguous", compile=False, clock="cpu",
        calls_per_block=20, dense_ms=tuple(dense), pruned_ms=tuple(pruned), dense_wall_ms=tuple(dense),
        pruned_wall_ms=tuple(pruned), round_index=(0,) * 20, cold_dense_ms=3 * dense_ms, cold_pruned_ms=3 * pruned_ms,
        speedup=speedup, speedup_low=speedup * 0.96, speedup_high=speedup * 1.04, latency_ms=ordered[10],
        latency_p90_ms=ordered[18], latency_p99_ms=None, dense_latency_ms=sorted(dense)[10],
        throughput=1000 * batch / ordered[10], contention=0.01, seconds=0.5, stopped="groups",
    )  # fmt: skip


def layer(draw: random.Random, name: str, count: int, compression: float) -> LayerRecord:
    """What a layer became; the first convolution is left alone."""
    kind = "conv2d" if name.startswith("conv") else "linear"
    if name == "conv1":
        return LayerRecord(name, kind, left_alone="rank 6 saves nothing here: break-even is 5")
    error = min(1.0, 0.05 * math.log2(compression + 1) * (1 + draw.random() / 3))
    left = max(1, round(count / compression * (0.8 + 0.4 * draw.random())))
    return LayerRecord(
        name, kind, (count // 12, 12), ((left, 1),), rank=max(1, round(60 / compression)),
        parameter_count_before=count, parameter_count_after=left, nonzero_parameter_count_after=left,
        mac_count_before=count, mac_count_after=left, weight_error=error, output_error=error * 0.7,
    )  # fmt: skip


def curve(draw: random.Random, accuracy: float, method: Choice) -> Iterator[CurvePoint]:
    """Eight epochs of training for the dense network, three of fine-tuning for the others."""
    phase, epochs = ("train", 8) if method == DENSE else ("finetune", 3)
    for epoch in range(1, epochs + 1):
        reached = accuracy * (1 - math.exp(-1.2 * epoch)) + draw.gauss(0, 0.004)
        yield CurvePoint(phase, epoch, 2 / epoch, 2.1 / epoch, reached, 0.2)


def without_latency(some: Result) -> Result:
    """The same trial, not timed."""
    return replace(some, measurement=replace(some.measurement, latency=())) if some.measurement else some
