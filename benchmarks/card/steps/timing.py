"""Networks against their own copies, and against ones that do 5 % more work: the truth is known."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from math import log
from statistics import median

import torch
from torch import Tensor, nn

from card.networks import images, network_of
from card.pairs import Timed, by_protocol
from card.record import Record

NETWORKS = ("simple_fcn", "lenet5", "resnet50", "vit_b_16")
SMALL = ("simple_fcn", "lenet5")
TENTH = (*SMALL, "small_resnet", "small_vit")
PASSES = 20
TRUTH = PASSES / (PASSES + 1)
TOLERANCE = 0.02  # of any ratio of a network that keeps the card busy, in its logarithm
HOST_TOLERANCE = 0.06  # of one that waits for the host, which others use as well
MIDDLE = 0.01  # of the median over all of a kind
FALSE_SHARE = 0.1  # of copies that may be called faster or slower
FOUND_SHARE = 0.8  # of what does more work that must be called slower
INSIDE = 0.8  # of 95 % intervals at least that hold the truth


class Passes(nn.Module):
    """So many passes of a network over parts of its input: the work of a call is known exactly."""

    def __init__(self, network: nn.Module, passes: int) -> None:
        super().__init__()
        self.network, self.passes = network, passes

    def forward(self, x: Tensor) -> Tensor:
        width = max(1, len(x) // (PASSES + 1))
        parts = [x[place * width % len(x) :][:width] for place in range(self.passes)]
        return torch.cat([self.network(part) for part in parts])


def run(record: Record) -> None:
    """Every network at both batch sizes, copied and with more work; again with other seeds while there is time."""
    batches, repeats = record.size.of((1, 64), (1, 21)), record.size.of(2, 1)
    seconds = record.size.of(1.2, 0.4)
    found: dict[str, list[Timed]] = {"copy": [], "more work": []}
    for repeat in range(repeats):
        for name in record.size.of(NETWORKS, TENTH):
            if not record.has_time(f"{name}, repeat {repeat + 1}", 4 * seconds):
                continue
            network, shape = network_of(name, record.size)
            x = images(max(batches), shape, "cpu")
            for batch in batches:
                with record.case(f"{name} at batch {batch}"):
                    for kind, timed in _timed(record, name, network, x[:batch], seconds).items():
                        found[kind].append(timed)
                        record.row(model=name, batch=batch, kind=kind, repeat=repeat, **timed.values())
                gc.collect()
    _judged(record, found)


def _timed(record: Record, name: str, network: nn.Module, x: Tensor, seconds: float) -> dict[str, Timed]:
    """Both kinds; at a tenth of the size copies alone of the networks that take long."""
    kinds = ("copy", "more work") if record.size.is_full or name in SMALL else ("copy",)
    pairs = {"copy": (network, network), "more work": (Passes(network, PASSES), Passes(network, PASSES + 1))}
    return {
        kind: by_protocol(pairs[kind][0], copy.deepcopy(pairs[kind][1]), x, len(x), record.place, seconds)
        for kind in kinds
    }


def _judged(record: Record, found: dict[str, list[Timed]]) -> None:
    for kind, truth in (("copy", 1.0), ("more work", TRUTH)):
        off = [abs(log(timed.speedup / truth)) for timed in found[kind]]
        record.row(kind=kind, truth=round(truth, 4), pairs=len(off), largest_error=max(off), middle_error=median(off))
        inside = sum(timed.low <= truth <= timed.high for timed in found[kind])
        record.check(f"{kind}: {INSIDE:.0%} of the intervals hold the truth", inside >= INSIDE * len(off), inside)
        if record.size.is_full:  # a tenth runs on processors that others use as well
            for told, bound, largest in _largest(found[kind], off):
                record.check(f"{kind}: every ratio of networks {told} within {bound:.0%}", largest <= bound, largest)
            record.check(f"{kind}: the median error at most {MIDDLE:.0%}", median(off) <= MIDDLE, median(off))
    wrong = sum(timed.verdict != "can't tell" for timed in found["copy"])
    enough = [timed for timed in found["more work"] if "few-blocks" not in timed.flags]
    slower = sum(timed.verdict == "slower" for timed in enough)
    record.row(copies_called_otherwise=wrong, more_work_called_slower=slower)
    if record.device == "cuda":
        record.check("copies are called neither faster nor slower", wrong <= FALSE_SHARE * len(found["copy"]), wrong)
        told = f"5 % more work is called slower where there was time for enough blocks ({len(enough)} pairs)"
        record.check(told, slower >= FOUND_SHARE * len(enough), slower)
        _launches(record)


def _largest(found: list[Timed], off: list[float]) -> Iterator[tuple[str, float, float]]:
    """The largest error of the networks that wait for the host and had enough blocks, and of the others."""
    for is_bound, told, bound in (
        (False, "that keep the card busy", TOLERANCE),
        (True, "that wait for the host", HOST_TOLERANCE),
    ):
        of_kind = [
            error
            for timed, error in zip(found, off, strict=True)
            if ("launch-bound" in timed.flags) == is_bound and not (is_bound and "few-blocks" in timed.flags)
        ]
        yield told, bound, max(of_kind, default=0.0)


def _launches(record: Record) -> None:
    """What is known of which networks wait for the host: the smallest at batch 1, not the largest at batch 64."""
    timed = [row for row in record.rows if row.get("kind") == "copy" and "model" in row]
    small = [row for row in timed if (row["model"], row["batch"]) == ("simple_fcn", 1)]
    large = [row for row in timed if row["model"] in ("resnet50", "vit_b_16") and row["batch"] == 64]
    record.check("simple_fcn at batch 1 is launch-bound", all("launch-bound" in row["flags"] for row in small), small)
    record.check("large networks at batch 64 are not", not any("launch-bound" in row["flags"] for row in large), large)
