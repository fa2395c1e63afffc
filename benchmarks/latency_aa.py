"""Can the latency protocol be believed? Networks against their own copies, and against ones that do 5 % more work.

    python benchmarks/latency_aa.py --repeats 100 --load 3

Every repeat times two small networks with the default protocol and with what people usually do (the mean of twenty
calls; `torch.utils.benchmark`'s autorange), in random order, while `--load` processes keep the cores busy. Repeats are
spread over fresh processes. The truth is known: 1 for a copy, 20/21 where the second network makes 21 passes for the
first one's 20. Every second repeat also times a large network against its copy, at batch 1 and 64: 144 MB of weights,
more than a cache holds.
`--runtime onnxruntime` (or openvino) times the same networks there. They are exported once, to `--files` where a folder
is named, and compiled anew in every repeat, before its seconds begin. The last lines are the
table of docs/measuring.md. In two parts, side by side, and together:

    python benchmarks/latency_aa.py --repeats 50 --out a.jsonl
    python benchmarks/latency_aa.py --repeats 50 --first 50 --out b.jsonl
    python benchmarks/latency_aa.py --table a.jsonl b.jsonl
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import torch
from aa_table import Row, rows_in, summary
from prunebench.engine.executors.process import KEEP_BLOCKS
from prunebench.measure.latency.latency import latency, measured
from prunebench.measure.latency.sides import Comparison
from prunebench.measure.runtimes.artifact import Artifact
from prunebench.measure.runtimes.exporting import exported, onnx_bytes
from prunebench.measure.statistics import verdict
from prunebench.records import LatencyProtocol, Runtime
from prunebench_models.convolutional import LeNet5
from prunebench_models.fully_connected import LargeFcn, SimpleFcn
from torch import Tensor, nn
from torch.utils import benchmark

OnnxRuntime = Literal["onnxruntime", "openvino"]
PASSES = 20
MODELS = {"simple_fcn": SimpleFcn(), "lenet5": LeNet5(), "large_fcn": LargeFcn()}
BATCH = 64
SMALL = [(model, BATCH, planted) for model in ("simple_fcn", "lenet5") for planted in (False, True)]
LARGE = [("large_fcn", batch, False) for batch in (1, BATCH)]
LARGE_EVERY = 2  # repeats
SLICE = 3  # samples a pass: 60 of the 64 in twenty passes, 63 in twenty-one


class Sliced(nn.Module):
    """So many passes of a network over slices of its input, so that the work of a call is known exactly."""

    def __init__(self, network: nn.Module, passes: int) -> None:
        super().__init__()
        self.network = network
        self.passes = passes

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.network(x[SLICE * i : SLICE * (i + 1)]) for i in range(self.passes)])


def pair_of(model: str, planted: bool, seed: int) -> tuple[nn.Module, nn.Module, float]:
    """Two networks and the true speed-up of the second over the first."""
    torch.manual_seed(seed)
    network = MODELS[model].build(10).eval()
    if planted:
        return Sliced(network, PASSES), Sliced(copy.deepcopy(network), PASSES + 1), PASSES / (PASSES + 1)
    return network, copy.deepcopy(network), 1.0


def onnx_of(model: str, passes: int, folder: Path, x: Tensor) -> bytes:
    """The network with so many passes, or plain for none, as the file that all repeats share."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model}-{passes}.onnx"
    if not path.exists():
        network = MODELS[model].build(10)
        path.write_bytes(onnx_bytes(exported((Sliced(network, passes) if passes else network).eval(), x)))
    return path.read_bytes()


def exported_pair(model: str, planted: bool, folder: Path, x: Tensor, runtime: OnnxRuntime) -> Sequence[nn.Module]:
    """The same pair for another runtime, compiled."""
    sides = [
        Artifact(onnx_of(model, passes, folder, x), runtime, None)
        for passes in ((PASSES, PASSES + 1) if planted else (0, 0))
    ]
    for side in sides:
        side.runner(x, 1, False)
    return sides


def paired(first: nn.Module, second: nn.Module, x: Tensor, seed: int, protocol: LatencyProtocol) -> Row:
    """What prunebench says."""
    protocol = replace(protocol, batch=(len(x),))
    if isinstance(first, Artifact):
        found = measured(Comparison(first, second, x, protocol, torch.device("cpu"), seed + len(x)))
    else:
        found = latency(first, second, x, protocol, "cpu", seed)[0]
    said = verdict(found.speedup, found.speedup_low, found.speedup_high)
    blocks = {"dense": found.dense_ms, "pruned": found.pruned_ms, "rounds": found.round_index}
    blocks |= {"dense_wall": found.dense_wall_ms, "pruned_wall": found.pruned_wall_ms}
    bounds = {"low": found.speedup_low, "high": found.speedup_high, "contention": found.contention}
    return {"speedup": found.speedup, "verdict": said, "stopped": found.stopped, **bounds, **blocks}


def mean_of_20(first: nn.Module, second: nn.Module, x: Tensor) -> Row:
    """Twenty calls of one network, then twenty of the other, by the wall clock."""

    def mean(network: nn.Module) -> float:
        start = time.perf_counter()
        for _ in range(20):
            network(x)
        return time.perf_counter() - start

    with torch.inference_mode():
        return {"speedup": mean(first) / mean(second)}


def autorange(first: nn.Module, second: nn.Module, x: Tensor) -> Row:
    """`Timer.blocked_autorange` of each, at its defaults."""

    def middle(network: nn.Module) -> float:
        timer = benchmark.Timer("network(x)", globals={"network": network, "x": x})
        return float(timer.blocked_autorange().median)

    with torch.inference_mode():
        return {"speedup": middle(first) / middle(second)}


def measure(seed: int, protocol: LatencyProtocol, networks: Sequence[str], files: Path) -> Iterator[Row]:
    """One repeat: every network, copied and planted, by every protocol, in random order."""
    tasks = SMALL + (LARGE if seed % LARGE_EVERY == 0 else [])
    tasks = [task for task in tasks if task[0] in networks]
    rng = random.Random(seed)
    for model, batch, planted in rng.sample(tasks, len(tasks)):
        first, second, truth = pair_of(model, planted, seed)
        x = torch.randn(batch, *MODELS[model].input_shape)
        if protocol.runtime == "onnxruntime" or protocol.runtime == "openvino":
            first, second = exported_pair(model, planted, files, x, protocol.runtime)
        ways: dict[str, Callable[[], Row]] = {
            "prunebench": lambda f=first, s=second, x=x: paired(f, s, x, seed, protocol),
        }
        if not planted and model != "large_fcn" and protocol.runtime == "torch":
            ways["mean of 20 calls"] = lambda f=first, s=second, x=x: mean_of_20(f, s, x)
            ways["`blocked_autorange`"] = lambda f=first, s=second, x=x: autorange(f, s, x)
        for way in rng.sample(list(ways), len(ways)):
            start = time.perf_counter()
            row = ways[way]()
            seconds = time.perf_counter() - start
            facts = {"model": model, "batch": batch, "planted": planted, "truth": truth, "way": way, "seconds": seconds}
            yield {**facts, "load": os.getloadavg()[0], **row}


def keep_busy(seed: int) -> None:
    """A neighbour: products of all sizes, copies of much memory, now and then a rest; until it is killed."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    parent = os.getppid()
    while os.getppid() == parent:
        size = int(2 ** rng.uniform(5, 10))
        a = torch.randn(size, size)
        end = time.perf_counter() + rng.expovariate(1 / 0.1)
        while time.perf_counter() < end:
            a = (a @ a).clamp(-1, 1)
        time.sleep(rng.expovariate(1 / 0.02))


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """`count` processes that compete for the cores."""
    command = (sys.executable, __file__, "--busy")
    started = [subprocess.Popen((*command, str(seed)), start_new_session=True) for seed in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def rows_of(args: argparse.Namespace) -> list[Row]:
    """All repeats, `--per-process` of them in each fresh process."""
    rows: list[Row] = []
    environment = {"GLIBC_TUNABLES": KEEP_BLOCKS, **os.environ}  # as workers have it
    with neighbours(args.load), TemporaryDirectory() as own:
        end = args.first + args.repeats
        for first in range(args.first, end, args.per_process):
            last = min(end, first + args.per_process)
            command = [sys.executable, __file__, "--child", str(first), str(last), "--seconds", str(args.seconds)]
            command += ["--networks", *args.networks, "--runtime", args.runtime, "--files", args.files or own]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            rows += rows_in(done.stdout)
            keep(args.out, rows)
            print(f"{last - args.first}/{args.repeats}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return rows


def keep(path: Path | None, rows: list[Row]) -> None:
    """All rows so far as JSON lines."""
    if path:
        path.write_text("\n".join(json.dumps(row) for row in rows))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--per-process", type=int, default=10, help="repeats in one process")
    parser.add_argument("--load", type=int, default=3, help="busy processes beside it")
    parser.add_argument("--seconds", type=float, default=LatencyProtocol().max_seconds, help="for one pair, at most")
    parser.add_argument("--out", type=Path, help="keep every row, raw blocks included, as JSON lines")
    parser.add_argument("--first", type=int, default=0, help="seed of the first repeat: parts of one test differ in it")
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of rows kept by --out")
    parser.add_argument("--networks", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--runtime", default="torch", choices=get_args(Runtime), help="what runs both networks")
    parser.add_argument("--files", type=Path, help="keep what is exported for another runtime, for the next call")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--busy", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run what the command line says."""
    args = arguments()
    if args.busy is not None:
        return keep_busy(args.busy)
    protocol = LatencyProtocol(max_seconds=args.seconds, runtime=args.runtime)
    if args.child:
        torch.set_num_threads(1)
        for seed in range(*args.child):
            for row in measure(seed, protocol, args.networks, args.files):
                print(json.dumps(row), flush=True)
        return None
    rows = [row for path in args.table for row in rows_in(path.read_text())] if args.table else rows_of(args)
    print(summary(rows))
    return None


if __name__ == "__main__":
    main()
