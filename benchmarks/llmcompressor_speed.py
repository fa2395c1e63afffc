"""GPTQ, SparseGPT and AWQ of this project beside llmcompressor's: CPU seconds and errors, in one process.

    python benchmarks/llmcompressor_speed.py [--model tiny|decoder|smollm2] [--windows 32] [--rounds 3] [--only gptq]

Both are handed the same network and the same windows of calibration text, change the same layers to the same bits or
the same share of zeros, and take turns. It needs an environment with `prunebench[peers-llm]`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from language import MODELS as LARGER
from language import trial_of
from prunebench import samples
from prunebench.grid.plan import instance
from prunebench.records import Choice
from prunebench.trial.masks import private_copy
from prunebench.trial.pruning import _task
from prunebench.trial.task import Memory
from prunebench.trial.workbench import DenseNetwork, Workbench

MODELS = {"tiny": Choice("tiny_gpt"), **LARGER}
BITS = {"bits": 4, "group": 32}
PAIRS = {
    "gptq": (Choice("gptq", BITS), Choice("peer_llmcompressor_gptq", BITS)),
    "sparsegpt": (Choice("sparsegpt", {"keep": 0.5}), Choice("peer_llmcompressor_sparsegpt", {"sparsity": 0.5})),
    "awq": (Choice("awq", BITS), Choice("peer_llmcompressor_awq", BITS)),
}


def pruned(bench: Workbench, dense: DenseNetwork, model: Choice, method: Choice, windows: int) -> tuple[float, Any]:
    """CPU seconds of `prune` with nothing kept from before, and the network."""
    trial = trial_of(model, method, 8, windows)
    bench.memory = Memory()
    task = _task(bench, trial, dense, dense.shapes, True, 0)
    task.anatomy = dense.anatomy(dense.network)
    network = private_copy(dense.network)
    made = instance(bench.installed, "method", trial.method)
    start = time.process_time()
    found = made.prune(network, task)
    return time.process_time() - start, found


def changed(network: torch.nn.Module, dense: torch.nn.Module) -> set[str]:
    """Names of the matrices that are no longer those of dense."""
    before = dict(dense.named_parameters())
    return {name for name, now in network.named_parameters() if now.ndim == 2 and not torch.equal(now, before[name])}


def error(network: torch.nn.Module, dense: DenseNetwork) -> float:
    """How far the logits of four windows are from those of dense, as a share of their norm."""
    inputs = samples.rows(dense.splits.test.head(4)[0], slice(4))
    with torch.inference_mode():
        wanted, found = (samples.call(one.eval(), inputs) for one in (dense.network, network))
    return float((found - wanted).norm() / wanted.norm())


def main() -> None:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(MODELS), default="tiny")
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=tuple(PAIRS), help="this method alone")
    asked = parser.parse_args()
    model = MODELS[asked.model]
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(data_dir=Path(folder), checkpoints=Path(folder) / "checkpoints", threads=asked.threads)
        dense = bench.dense(trial_of(model, Choice("dense"), 8, asked.windows))
        for name, pair in PAIRS.items():
            if asked.only not in (None, name):
                continue
            compared(name, [lambda one=one: pruned(bench, dense, model, one, asked.windows) for one in pair], dense,
                     asked.rounds)  # fmt: skip


def compared(name: str, sides: list[Any], dense: DenseNetwork, rounds: int) -> None:
    """Prints one line: the middle of the rounds' ratios, the middle seconds of both, and both errors."""
    (_, ours), (_, theirs) = (side() for side in sides)  # the first call of each also imports
    assert changed(ours, dense.network) == changed(theirs, dense.network)
    errors = [error(network, dense) for network in (ours, theirs)]
    del ours, theirs
    times = [[side()[0] for side in sides] for _ in range(rounds)]
    ratio = statistics.median(theirs / ours for ours, theirs in times)
    middle = [statistics.median(column) for column in zip(*times, strict=True)]
    print(
        f"{name}: llmcompressor takes {ratio:.2f} times as long (CPU s, ours {middle[0]:.2f}, theirs {middle[1]:.2f}); "
        f"error of the logits, ours {errors[0]:.4f}, theirs {errors[1]:.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
