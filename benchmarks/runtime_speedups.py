"""What fewer multiply-accumulates are worth in each runtime: four networks, 2 and 4 times fewer, beside torch.

    python benchmarks/runtime_speedups.py --out runtime-speedups.jsonl              # goes on where it was stopped
    python benchmarks/runtime_speedups.py --out runtime-speedups.jsonl --only resnet50 --runtimes torch_compile
    python benchmarks/runtime_speedups.py --out runtime-speedups.jsonl --harness    # what the harness itself takes
    python benchmarks/runtime_speedups.py --out runtime-speedups.jsonl --table

Networks are torchvision's with random weights: a weight's value changes no time. Three bundled methods prune each of
them, with the setting that comes closest to the wanted number of multiply-accumulates. A pair is timed by
`prunebench.measure.latency` as in any trial, one thread.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import importlib.metadata
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from identity import of_machine
from prunebench import NotApplicable, Splits, TensorSplit
from prunebench.errors import said
from prunebench.measure.counts import counts, mac_count
from prunebench.measure.latency.latency import latency
from prunebench.measure.runtimes.artifact import OnnxRuntimeRunner, OpenVinoRunner
from prunebench.measure.runtimes.pair import Given, ready
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.parameters import create
from prunebench.records import LatencyProtocol, Runtime
from prunebench.trial.targets import DenseCounts, solved
from take_home import created, task_on
from torch import Tensor, nn

NETWORKS = {
    "alexnet": ("alexnet", {}),
    "resnet50": ("resnet50", {}),
    "densenet121": ("densenet121", {}),
    "mobilenet_v2": ("torchvision", {"arch": "mobilenet_v2"}),
}
METHODS = ("low_rank", "spatial_svd", "filter_criteria")
FACTORS = (2.0, 4.0)
RUNTIMES: tuple[Runtime, ...] = ("torch", "onnxruntime", "openvino")  # compiling takes minutes: only where asked for
WITHIN = 0.05  # of the wanted number, where the share of channels is searched for
SEARCHED = 6  # steps
MOST = 0.05  # of a timing's CPU time that the harness may take

Row = dict[str, Any]


def images(count: int) -> Tensor:
    """Made-up ones, all different: (count, 3, 224, 224)."""
    return torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def network_of(name: str, installed: Installed) -> tuple[Any, nn.Module]:
    """torchvision's builder with 1,000 classes and random weights; the model's plugin beside it."""
    plugin, settings = NETWORKS[name]
    model = create(*created(installed, "model", plugin, settings))
    torch.manual_seed(0)
    return model, model.build(1000).eval()


def pruned_at(factor: float, method: str, dense: nn.Module, task: Any, installed: Installed) -> tuple[nn.Module, float]:
    """A network with `factor` times fewer multiply-accumulates, about, and how many times fewer it has.

    Raises `NotApplicable` where the method does not come near it.
    """
    cls = installed.find("method", method).cls
    before = counts(dense, task.example_input)
    assert before.mac_count is not None
    make = partial(_pruned, installed, method, dense, task, before.mac_count)
    if method == "filter_criteria":
        return _searched(make, factor)
    target, whole = {"theoretical_speedup": factor}, DenseCounts(before.parameter_count, before.mac_count)
    return make({cls.knob: solved(cls, {}, target, task.shapes, whole)})


def _pruned(
    installed: Installed, method: str, dense: nn.Module, task: Any, dense_macs: int, settings: dict[str, Any]
) -> tuple[nn.Module, float]:
    made = create(*created(installed, "method", method, settings))
    network = made.prune(copy.deepcopy(dense), task).eval()
    left = mac_count(network, task.example_input)
    assert left is not None
    return network, dense_macs / left


def _searched(make: Callable[[dict[str, Any]], tuple[nn.Module, float]], factor: float) -> tuple[nn.Module, float]:
    """Between a share that leaves too much and one that leaves too little."""
    low, high, found = 0.0, 1.0, None
    for _ in range(SEARCHED):
        keep = (low + high) / 2 if found else factor**-0.5  # where both sides of a layer shrink
        found = make({"keep": round(keep, 4)})
        if abs(found[1] / factor - 1) <= WITHIN:
            break
        low, high = (low, keep) if found[1] < factor else (keep, high)
    assert found is not None
    return found


def prunings(name: str, installed: Installed, dense: nn.Module, model: Any) -> Iterator[tuple[Row, nn.Module | None]]:
    """Every method and factor, with the pruned network, or None where the method declines."""
    x = images(4)
    splits = [TensorSplit(x, torch.arange(4)) for _ in range(3)]
    task = task_on(Splits(*splits, class_count=1000, fingerprint="made up"), dense, model, installed, "classification")
    for method in METHODS:
        for factor in FACTORS:
            row: Row = {"network": name, "method": method, "factor": factor}
            try:
                pruned, reached = pruned_at(factor, method, dense, task, installed)
            except NotApplicable as declined:
                yield {**row, "why": said(declined, 200)}, None
                continue
            yield {**row, "reached": round(reached, 3)}, pruned


def timed(dense: nn.Module, pruned: nn.Module, batch: int, runtime: Runtime, seconds: float) -> Row:
    """The pair's row, or why it has none."""
    protocol = LatencyProtocol(batch=(batch,), runtime=runtime, max_seconds=seconds)
    told: list[str] = []
    start = time.process_time()
    found = latency(dense, pruned, images(batch), protocol, "cpu", 0, told.append)
    row: Row = {"runtime": runtime, "batch": batch, "cpu_seconds": round(time.process_time() - start, 1)}
    row["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    if not found:
        return {**row, "why": told[0]}
    one = found[0]
    row |= {"speedup": one.speedup, "low": one.speedup_low, "high": one.speedup_high, "flags": list(one.flags)}
    row |= {"dense_ms": one.dense_latency_ms, "pruned_ms": one.latency_ms, "contention": one.contention}
    for key in ("difference", "file_bytes"):
        row |= {f"{side}_{key}": one.conditions.get(f"{side}_{key}") for side in ("dense", "pruned")}
    return row


def key_of(row: Row) -> tuple[Any, ...]:
    """What a row is about."""
    return tuple(row.get(name) for name in ("network", "method", "factor", "runtime", "batch"))


def cells(args: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[Row]:
    """Every row that is not there yet."""
    installed = find_installed()
    for name in args.only:
        wanted = [(batch, runtime) for batch in args.batch for runtime in args.runtimes]
        whole = [(name, m, f, r, b) for m in METHODS for f in FACTORS for b, r in wanted]
        if not set(whole) - done:
            continue
        model, dense = network_of(name, installed)
        for about, pruned in prunings(name, installed, dense, model):
            for batch, runtime in wanted:
                row = {**about, "runtime": runtime, "batch": batch}
                if key_of(row) not in done:
                    yield row if pruned is None else about | timed(dense, pruned, batch, runtime, args.seconds)


class Spent:
    """CPU seconds of this process in a runtime's own calls, in making sessions and in ending them, counted there."""

    def __init__(self) -> None:
        self.calls = self.sessions = self.ends = 0.0


@contextmanager
def watched() -> Iterator[Spent]:
    """Count inside; nothing else changes."""
    spent, originals = Spent(), [(kind, kind.__init__) for kind in (OnnxRuntimeRunner, OpenVinoRunner)]

    def counting(original: Any) -> Any:
        def made(self: Any, setup: Any) -> None:
            start = time.process_time()
            original(self, setup)
            spent.sessions += time.process_time() - start
            bare = self._run

            def run(*args: Any) -> Any:
                start = time.process_time()
                answer = bare(*args)
                spent.calls += time.process_time() - start
                return answer

            self._run = run

        return made

    def ended(self: Any) -> None:
        start = time.process_time()
        self.__dict__.clear()
        spent.ends += time.process_time() - start

    for kind, original in originals:
        kind.__init__ = counting(original)  # type: ignore[method-assign]
        kind.__del__ = ended
    try:
        yield spent
    finally:
        for kind, original in originals:
            kind.__init__ = original  # type: ignore[method-assign]
            del kind.__del__


def harness(name: str, runtime: Runtime, seconds: float, installed: Installed) -> Row:
    """Where the CPU time of timing a network against its copy goes, once both were exported and compared with torch."""
    _, dense = network_of(name, installed)
    protocol = LatencyProtocol(batch=(1,), runtime=runtime, max_seconds=seconds)
    copied = copy.deepcopy(dense)
    x, sides = images(1), (Given(dense, dense), Given(copied, copied))
    start = time.process_time()
    ready(*sides, x, protocol, torch.device("cpu"))
    exported = time.process_time() - start
    with watched() as spent:
        start = time.process_time()
        latency(*sides, x, protocol, "cpu", 0)
        whole = time.process_time() - start
    rest = whole - spent.calls - spent.sessions - spent.ends
    found = {"export": exported, "timing": whole, "calls": spent.calls, "sessions": spent.sessions, "ends": spent.ends}
    found["rest"] = rest
    told = {key: round(value, 3) for key, value in found.items()}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"harness": name, "runtime": runtime, **told, "share": round(rest / whole, 4), "date": date}


def rows_in(path: Path) -> list[Row]:
    """All that was kept."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def keep(path: Path, row: Row) -> None:
    """One more line, with what it was measured on."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "onnxruntime", "openvino")}
    with path.open("a") as file:
        file.write(json.dumps({**row, **versions, "processor": of_machine()["processor"]}) + "\n")
    print(json.dumps(row), flush=True)


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--runtimes", nargs="+", choices=get_args(Runtime), default=list(RUNTIMES))
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--seconds", type=float, default=LatencyProtocol().max_seconds, help="for one pair, at most")
    parser.add_argument("--harness", action="store_true", help="only where the time of a timing goes")
    parser.add_argument("--table", action="store_true", help="only print what was kept")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if args.harness:
        for name in args.only:
            for runtime in ("onnxruntime", "openvino"):
                keep(args.out, harness(name, runtime, args.seconds, find_installed()))
    elif not args.table:
        for row in cells(args, {key_of(row) for row in rows_in(args.out)}):
            keep(args.out, row)
    for row in rows_in(args.out) if args.table else ():
        print(json.dumps(row))


if __name__ == "__main__":
    main()
