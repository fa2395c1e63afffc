"""How far the large fully connected network shrinks without retraining: plain SVD against the data-aware forms.

    python benchmarks/data_aware.py [--folder DIR] [--model large_fcn] [--epochs 5] [--pairs 9] [--in-place]
                                    [--calibration 1024] [--only REGEX]

Trains the network on moved digits once (some minutes on one core; kept in DIR), then prints a line per setting: top-1
on the test split and on moved copies of it, each with the two-sided p of McNemar's test against dense. `--pairs`
times dense and pruned in turn as well. Workers have another allocator setting than a plain process: export the
`GLIBC_TUNABLES` that benchmarks/allocator.py prints to time as they do. `--in-place` times both with activations that
overwrite their inputs, as `in_place = true` in a grid's protocol does.
"""

from __future__ import annotations

import argparse
import copy
import re
import statistics
import time
from pathlib import Path

import torch
from allocator import in_place
from conv_speed import seconds
from method_task import MODELS, SEED, digits, hits, method_task, moved, trained
from prunebench import Method, NotApplicable
from prunebench.measure import statistics as statistics_of
from prunebench.measure.counts import mac_count
from prunebench_methods.low_rank.column_select import ColumnSelect
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.levin import PrincipalComponentsPruning
from prunebench_methods.low_rank.low_rank import LowRank, LowRankAsRun
from torch import Tensor, nn

TEST_COPIES = 10  # of every test sample, moved; the copies of one sample are no independent samples


def settings() -> list[tuple[str, Method]]:
    """Name -> method, in the order of the printed table."""
    rows: list[tuple[str, Method]] = []
    for rank in (8, 16, 32, 64):
        plain = {"rank": rank, "round_to": 1, "skip_last": False}
        rows += [
            (f"singular values dropped, rank {rank}", LowRankAsRun(rank=rank)),
            (f"SVD, rank {rank}", LowRank(rank=rank)),
            (f"principal components, rank {rank}", PrincipalComponentsPruning(rank=rank, centred=True)),
            (f"whitened, rank {rank}", DataAwareLowRank(**plain, asymmetric=False, importance="alike")),
            (f"whitened, asymmetric, rank {rank}", DataAwareLowRank(**plain, importance="alike")),
            (f"by importance, rank {rank}", DataAwareLowRank(**plain)),
        ]
    rows.append(("SVD, rank 100", LowRank(rank=100)))
    for importance, label in (("alike", "spectra"), ("outputs", "importance")):
        for speedup, multiple in ((60, 16), (63, 16), (65, 16), (70, 16), (75, 16), (80, 8), (150, 8)):
            shared = {"theoretical_speedup": speedup, "allocation": "global", "round_to": multiple}
            method = DataAwareLowRank(**shared, importance=importance)
            rows.append((f"budget shared by {label}, multiples of {multiple}, asked for MACs / {speedup}", method))
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


def mcnemar(dense: Tensor, pruned: Tensor) -> str:
    """Top-1, the samples lost and won against dense, and McNemar's p of the two being as good."""
    lost, won = int((dense & ~pruned).sum()), int((pruned & ~dense).sum())
    return f"{float(pruned.float().mean()):.2%} (-{lost} +{won}, p {statistics_of.mcnemar_p(lost, won):.2g})"


def ranks_of(dense: nn.Module, network: nn.Module) -> str:
    """Of the linear layers in order, a dash where one is still dense."""
    now = [network.get_submodule(name) for name, layer in dense.named_modules() if isinstance(layer, nn.Linear)]
    return " ".join(str(layer[0].out_features) if isinstance(layer, nn.Sequential) else "-" for layer in now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--model", choices=sorted(MODELS), default="large_fcn")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--calibration", type=int, default=1024, help="training samples that methods see")
    parser.add_argument("--pairs", type=int, default=0, help="of timed calls per setting; 0 times nothing")
    parser.add_argument("--in-place", action="store_true", help="time both with activations in place")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), help="settings whose label it is found in")
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = digits(options.folder)
    dense = trained(options.model, splits, options.folder, options.epochs)
    images, labels = splits.test.head(len(splits.test))
    generator = torch.Generator().manual_seed(SEED)
    copies = torch.cat([moved(images, generator) for _ in range(TEST_COPIES)])
    tests = ((images, labels), (copies, labels.repeat(TEST_COPIES)))
    right = [hits(dense, *test) for test in tests]
    task = method_task(dense, splits, options.calibration)
    full = mac_count(dense, task.example_input)
    words = ", moved ".join(f"{float(one.float().mean()):.2%} of {len(one)}" for one in right)
    print(f"dense: {full:,} MACs, top-1 {words}")
    for label, method in settings():
        if not options.only.search(label):
            continue
        started = time.monotonic()
        try:
            network = method.prune(copy.deepcopy(dense), task)
        except NotApplicable as why:
            print(f"{label}: {why}")
            continue
        spent = time.monotonic() - started
        cost = f"MACs / {full / mac_count(network, task.example_input):.1f}, pruned in {spent:.1f} s"
        sides = (in_place(dense), in_place(network)) if options.in_place else (dense, network)
        times = speedups(*sides, task.example_input, options.pairs) if options.pairs else ""
        speed = f", times as fast at batch {times}" if times else ""
        words = ", moved ".join(mcnemar(one, hits(network, *test)) for one, test in zip(right, tests, strict=True))
        print(f"{label}: {cost}, ranks {ranks_of(dense, network)}, top-1 {words}{speed}", flush=True)


if __name__ == "__main__":
    main()
