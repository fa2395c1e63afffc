"""How far the large fully connected network shrinks without retraining: plain SVD against the data-aware forms.

    python benchmarks/data_aware.py [--folder DIR] [--model large_fcn] [--epochs 5] [--pairs 9]

Trains the network on moved digits once (some minutes on one core; kept in DIR), then prints a line a setting; `--pairs`
times dense and pruned in turn as well. Workers have another allocator setting than a plain process: export the
`GLIBC_TUNABLES` that benchmarks/allocator.py prints to time as they do.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from pathlib import Path

import torch
from conv_speed import seconds
from method_task import MODELS, digits, method_task, test_accuracy, trained
from prunebench import Method, NotApplicable
from prunebench.measure.counts import mac_count
from prunebench_methods.column_select import ColumnSelect
from prunebench_methods.data_aware import DataAwareLowRank
from prunebench_methods.levin import PrincipalComponentsPruning
from prunebench_methods.low_rank import LowRank, LowRankAsRun
from torch import Tensor, nn


def settings() -> list[tuple[str, Method]]:
    """Name -> method, in the order of the printed table."""
    rows: list[tuple[str, Method]] = []
    for rank in (8, 16, 32, 64):
        plain = {"rank": rank, "round_to": 1, "skip_last": False}
        rows += [
            (f"singular values dropped, rank {rank}", LowRankAsRun(rank=rank)),
            (f"SVD, rank {rank}", LowRank(rank=rank)),
            (f"principal components, rank {rank}", PrincipalComponentsPruning(rank=rank, centred=True)),
            (f"whitened, rank {rank}", DataAwareLowRank(**plain, asymmetric=False)),
            (f"whitened, asymmetric, rank {rank}", DataAwareLowRank(**plain)),
        ]
    rows.append(("SVD, rank 100", LowRank(rank=100)))
    for speedup, multiple in ((60, 16), (80, 16), (80, 8), (150, 8)):
        shared = DataAwareLowRank(theoretical_speedup=speedup, allocation="global", round_to=multiple)
        rows.append((f"shared budget, asymmetric, multiples of {multiple}, asked for MACs / {speedup}", shared))
    rows += [(f"columns selected, keep {keep}", ColumnSelect(keep=keep)) for keep in (0.1, 0.25, 0.5)]
    return rows


def speedups(dense: nn.Module, network: nn.Module, images: Tensor, pairs: int) -> str:
    """Median ratio of thread CPU time at batch 1, 64 and 512, dense and pruned in turn."""
    words = []
    for size in (1, 64, 512):
        x = images[:1].expand(size, *images.shape[1:]).contiguous()
        rounds = [(seconds(dense, x), seconds(network, x)) for _ in range(pairs + 1)][1:]
        words.append(f"{size}: {statistics.median(first / second for first, second in rounds):.1f}")
    return ", ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--model", choices=sorted(MODELS), default="large_fcn")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=0, help="of timed calls a setting; 0 times nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = digits(options.folder)
    dense = trained(options.model, splits, options.folder, options.epochs)
    task = method_task(dense, splits)
    full = mac_count(dense, task.example_input)
    print(f"dense: {full:,} MACs, top-1 {test_accuracy(dense, splits):.1%}")
    for label, method in settings():
        started = time.monotonic()
        try:
            network = method.prune(copy.deepcopy(dense), task)
        except NotApplicable as why:
            print(f"{label}: {why}")
            continue
        spent = time.monotonic() - started
        factor = full / mac_count(network, task.example_input)
        times = speedups(dense, network, task.example_input, options.pairs) if options.pairs else ""
        speed = f", times as fast at batch {times}" if times else ""
        accuracy = f"{test_accuracy(network, splits):.1%}"
        print(f"{label}: MACs / {factor:.1f}, top-1 {accuracy}, pruned in {spent:.1f} s{speed}", flush=True)


if __name__ == "__main__":
    main()
