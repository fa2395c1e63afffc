"""Decompositions on the device against the CPU's: how far their numbers are from float64, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import isfinite
from statistics import median
from typing import Any

import torch
from prunebench_methods.decompositions.als import Settings, composed, fitted, mode_bases
from prunebench_methods.shared.grams import Gram
from prunebench_methods.shared.numerics import svd
from torch import Tensor

from card.networks import relative_error
from card.pairs import drained
from card.record import Record

REPEATS = 3
# Tolerances of float32 arithmetic in another order, some thousand terms a sum. The route through the Gram matrix leaves
# directions near each other at the weak end mixed. A card's eigenvectors mix them more than LAPACK's do (1e-4 of the
# norm was seen), and truncation does not notice (1e-8 was seen): the values have the wider bound.
VALUES = 5e-4  # singular values and eigenvalues, relative to the norm of all
ERRORS = 1e-5  # relative error of a truncation or of a product, beyond the best
PRODUCTS = 1e-5  # Gram matrices, multiplied in float32 a slice at a time and added up in float64
FITS = 1e-3  # difference of the relative errors that alternating least squares ends at

Job = Callable[[Tensor], dict[str, Tensor]]


def run(record: Record) -> None:
    """Each decomposition at sizes of layers that people have."""
    for name, shape, job, judge in _jobs(record):
        what = f"{name} {'×'.join(map(str, shape))}"
        if not record.has_time(what, 2):
            continue
        with record.case(what):
            _compared(record, name, shape, job, judge)


def _jobs(record: Record) -> Iterator[tuple[str, tuple[int, ...], Job, Callable[..., dict[str, float]]]]:
    of = record.size.of
    for rows, columns in of(
        [(512, 512), (512, 4608), (1024, 1024), (2048, 512), (4096, 1024)], [(64, 64), (64, 460), (600, 64)]
    ):
        yield "svd", (rows, columns), _svd, _judge_svd
    for side in of([576, 1024, 2048], [58, 205]):
        yield "eigh", (side, side), _eigh, _judge_eigh
    for rows, columns in of([(4096, 1024), (16384, 2304)], [(410, 102)]):
        yield "gram", (rows, columns), _gram, _judge_gram
    for shape in of([(64, 64, 3, 3), (256, 256, 3, 3)], [(16, 16, 3, 3)]):
        yield "als", shape, _als, _judge_als


def _compared(record: Record, name: str, shape: tuple[int, ...], job: Job, judge: Callable[..., Any]) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0)) / shape[-1] ** 0.5
    if len(shape) == 2:
        x = x * torch.linspace(1, 0.01, shape[1])  # a falling spectrum, as weights have
    there = x.to(record.place)
    found, wanted = job(there), job(x)
    told = {name: float(value) for name, value in judge(x, found, wanted).items()}
    bounds = {"values": VALUES, "errors": ERRORS, "products": PRODUCTS, "fits": FITS}
    seconds = {
        "device_seconds": _seconds(job, there, record.place, REPEATS),
        "cpu_seconds": _seconds(job, x, "cpu", record.size.of(1, REPEATS)),
        "cpu_threads": torch.get_num_threads(),
    }
    ratio = seconds["cpu_seconds"] / seconds["device_seconds"]
    record.row(decomposition=name, shape=list(shape), **told, **seconds, times_as_fast=round(ratio, 2))
    for key, value in told.items():
        holds = isfinite(value) and value <= bounds[key]
        record.check(f"{name} {list(shape)}: {key} within {bounds[key]:g}", holds, f"{value:.2e}")
    again = job(there)
    same = all(torch.equal(again[key], found[key]) for key in found)
    record.check(f"{name} {list(shape)}: the same on every call", same)


def _seconds(job: Job, x: Tensor, device: str, repeats: int) -> float:
    """Median of the wall time, the device drained; it is warm by now."""
    spent = []
    for _ in range(repeats):
        drained(device)
        started = time.perf_counter()
        job(x)
        drained(device)
        spent.append(time.perf_counter() - started)
    return median(spent)


def _svd(x: Tensor) -> dict[str, Tensor]:
    found = svd(x)
    return {"left": found.left, "values": found.values, "right": found.right}


def _judge_svd(x: Tensor, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    """The singular values against float64's; what truncation at a quarter of the ranks loses, against the best."""
    exact = torch.linalg.svdvals(x.double())
    rank = max(1, len(exact) // 4)
    left, values, right = (found[key].double().cpu() for key in ("left", "values", "right"))
    lost = relative_error((left[:, :rank] * values[:rank]) @ right[:rank], x)
    best = float(exact[rank:].norm() / exact.norm())
    return {"values": relative_error(found["values"], exact), "errors": abs(lost - best)}


def _eigh(x: Tensor) -> dict[str, Tensor]:
    values, vectors = torch.linalg.eigh(x.T @ x)
    return {"values": values, "vectors": vectors}


def _judge_eigh(x: Tensor, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    gram = x.double().T @ x.double()
    values, vectors = found["values"].double().cpu(), found["vectors"].double().cpu()
    return {
        "values": relative_error(values, torch.linalg.eigvalsh(gram)),
        "errors": relative_error(vectors * values @ vectors.T, gram),
    }


def _gram(x: Tensor) -> dict[str, Tensor]:
    made = Gram()
    for part in x.split(4096):
        made.add(part[:, None])
    return {"second": made.second(0), "mean": made.mean}


def _judge_gram(x: Tensor, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    return {"products": relative_error(found["second"], x.double().T @ x.double() / len(x))}


def _als(x: Tensor) -> dict[str, Tensor]:
    batch = x.flatten(2)[None]
    generator = torch.Generator().manual_seed(0)
    factors = fitted(batch, max(2, x.shape[0] // 4), mode_bases(batch), generator, Settings(sweeps=10))
    return {"made": composed(factors)[0].reshape(x.shape)}


def _judge_als(x: Tensor, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    return {"fits": abs(relative_error(found["made"], x) - relative_error(wanted["made"], x))}
