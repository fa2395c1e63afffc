"""Randomized multiplication and column selection against the dense product: 8192 -> 2048, one thread.

    python benchmarks/random_matmul.py [--pairs 15]

Prints the median ratio dense / sampled of interleaved calls for batches of 1, 64 and 512.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from prunebench_methods.low_rank.column_select_math import Selected
from prunebench_methods.low_rank.random_matmul_math import SampledLinear
from torch import Tensor, nn

INPUTS, OUTPUTS = 8192, 2048


def sampled(layer: nn.Linear, samples: int, variant: str, replacement: bool = True) -> nn.Module:
    """The layer over a random sample of its columns."""
    return SampledLinear(layer, samples, 0, variant, replacement).eval()


def selected(layer: nn.Linear, count: int) -> nn.Module:
    """The layer on its first `count` inputs."""
    return Selected(torch.arange(count), -1, nn.Linear(count, layer.out_features)).eval()


@torch.inference_mode()
def seconds(network: nn.Module, batch: Tensor) -> float:
    """Of one call."""
    started = time.perf_counter()
    network(batch)
    return time.perf_counter() - started


def ratio(dense: nn.Module, other: nn.Module, size: int, pairs: int) -> float:
    """Median of dense over other, in interleaved pairs after one warm-up each."""
    batch = torch.randn(size, INPUTS)
    found = []
    for pair in range(pairs + 1):
        first, second = (dense, other) if pair % 2 else (other, dense)
        times = {id(network): seconds(network, batch) for network in (first, second)}
        found.append(times[id(dense)] / times[id(other)])
    return statistics.median(found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = nn.Linear(INPUTS, OUTPUTS).eval()
    for share in (0.1, 0.25):
        count = int(share * INPUTS)
        rivals = {
            "unbiased": sampled(layer, count, "unbiased"),
            "without replacement": sampled(layer, count, "unbiased", False),
            "top norm": sampled(layer, count, "top_norm"),
            "chosen once": selected(layer, count),
        }
        for label, rival in rivals.items():
            found = [f"batch {size}: {ratio(layer, rival, size, options.pairs):.2f}" for size in (1, 64, 512)]
            print(f"{share:.0%} of the columns, {label}: {', '.join(found)}", flush=True)


if __name__ == "__main__":
    main()
