"""What a small CNN for letters loses, and gains in time, when channels are removed without retraining.

    python benchmarks/small_cnn.py [--folder DIR] [--seeds 0,1,2] [--targets 3.9,14] [--pairs 9] [--batch-norm]

`interpolative_channels` at the largest share of channels that gives so many times fewer multiply-accumulates, a line a
seed. The network is trained on rendered letters once a seed, 15 epochs (kept in DIR: minutes each on one core). Dense
and pruned are timed in turn on 64 pictures, one thread, in thread CPU time; the figure is the median of ratios.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from pathlib import Path

import torch
from conv_speed import seconds
from method_task import method_task, test_accuracy
from prunebench import Splits
from prunebench.measure.counts import mac_count
from prunebench.records import Recipe
from prunebench.training import fit
from prunebench_datasets.handwriting import RenderedLetters
from prunebench_methods.interpolative import InterpolativeChannels
from prunebench_models.convolutional import SmallCnn
from torch import nn

PER_CLASS = 200
BATCH = 64
RECIPE = Recipe(epochs=15, patience=5, batch_size=64, lr=1e-3, optimizer="adam")
BISECTIONS = 8


def trained(splits: Splits, folder: Path, seed: int, batch_norm: bool) -> nn.Module:
    """The network, read from `folder` when it was trained before."""
    torch.manual_seed(seed)
    network = SmallCnn(batch_norm=batch_norm).build(splits.class_count)
    path = folder / f"small_cnn{'-norm' if batch_norm else ''}-{seed}.pt"
    if path.exists():
        network.load_state_dict(torch.load(path))
        return network.eval()
    fit(network, splits.train, splits.validation, RECIPE, generator=torch.Generator().manual_seed(seed))
    torch.save(network.state_dict(), path)
    return network.eval()


def narrowed(dense: nn.Module, splits: Splits, target: float) -> tuple[float, nn.Module]:
    """The largest share, and the network it leaves, at which MACs fall by at least `target`."""
    task = method_task(dense, splits)
    budget = mac_count(dense, task.example_input) / target
    low, high, best = 0.0, 1.0, None
    for _ in range(BISECTIONS):
        keep = (low + high) / 2
        network = InterpolativeChannels(keep=keep).prune(copy.deepcopy(dense), task)
        if mac_count(network, task.example_input) <= budget:
            low, best = keep, network
        else:
            high = keep
    if best is None:
        raise SystemExit(f"no share of the channels gives {target:g} times fewer multiply-accumulates")
    return low, best


def speedup(dense: nn.Module, network: nn.Module, splits: Splits, pairs: int) -> float:
    """Median ratio of neighbours, the first pair left out."""
    x, _ = splits.train.head(BATCH)
    rounds = [(seconds(dense, x), seconds(network, x)) for _ in range(pairs + 1)][1:]
    return statistics.median(first / second for first, second in rounds)


def main() -> None:
    """Print a line for each seed and target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--targets", default="3.9,14")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--batch-norm", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = RenderedLetters(per_class=PER_CLASS).load(SmallCnn.input_shape, options.folder)
    for seed in map(int, options.seeds.split(",")):
        dense = trained(splits, options.folder, seed, options.batch_norm)
        full, accuracy = mac_count(dense, splits.train.head(1)[0]), test_accuracy(dense, splits)
        print(f"seed {seed}: dense {full:,} MACs, top-1 {accuracy:.2%}", flush=True)
        for target in map(float, options.targets.split(",")):
            keep, network = narrowed(dense, splits, target)
            fewer, drop = full / mac_count(network, splits.train.head(1)[0]), accuracy - test_accuracy(network, splits)
            fast = speedup(dense, network, splits, options.pairs)
            print(
                f"  keep {keep:.3f}: MACs / {fewer:.2f}, {100 * drop:+.2f} points lost, {fast:.2f}x as fast", flush=True
            )


if __name__ == "__main__":
    main()
