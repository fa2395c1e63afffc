"""What a sweep of ranks costs: ten ranks of low_rank on the large fully connected network against one.

    python benchmarks/sweep_low_rank.py [--ranks 10]

Also prints, for the tall and the square layers, how the route through the Gram matrix compares with the full singular
value decomposition: seconds, and the truncation error over the best possible.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from method_task import digits, method_task
from prunebench import Splits
from prunebench_methods.low_rank.low_rank import LowRank
from prunebench_methods.shared.numerics import Svd, svd
from prunebench_models.fully_connected import LargeFcn
from torch import Tensor, nn

SHAPES = ((8192, 2048), (2048, 512), (512, 512))
RANKS = (8, 32, 128, 512)


def sweep_seconds(network: nn.Module, splits: Splits, ranks: list[int]) -> float:
    """Time inside `prune` for these ranks, with one memory for all of them; copies of the network not counted."""
    task = method_task(network, splits, calibration=8)
    total = 0.0
    for rank in ranks:
        private = copy.deepcopy(network)
        started = time.perf_counter()
        LowRank(rank=rank).prune(private, task)
        total += time.perf_counter() - started
    return total


def routes(shape: tuple[int, int]) -> None:
    """Print both routes' seconds and the Gram route's worst excess over the optimal error."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) / shape[1] ** 0.5
    full, seconds_full = _timed(lambda: Svd(*torch.linalg.svd(matrix, full_matrices=False)))
    ours, seconds_ours = _timed(lambda: svd(matrix))
    worst = max(_error(matrix, ours, rank) / _error(matrix, full, rank) for rank in RANKS if rank < min(shape))
    print(f"{shape}: full {seconds_full:.2f} s, ours {seconds_ours:.2f} s, error over optimal {worst:.6f}")


def _timed(compute: Callable[[], Svd]) -> tuple[Svd, float]:
    started = time.perf_counter()
    return compute(), time.perf_counter() - started


def _error(matrix: Tensor, found: Svd, rank: int) -> float:
    left, right = found.factors(rank)
    return float((matrix - left @ right).double().norm())  # in float32 the norm itself is off by 0.1 %


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=10, help="ranks in the sweep")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, splits = LargeFcn().build(10).eval(), digits(Path("runs"))
    ranks = torch.linspace(5, 100, options.ranks).int().tolist()
    one = sweep_seconds(network, splits, ranks[-1:])
    many = sweep_seconds(network, splits, ranks)
    print(f"one rank {one:.2f} s, {len(ranks)} ranks {many:.2f} s: {many / one:.2f} times")
    for shape in SHAPES:
        routes(shape)


if __name__ == "__main__":
    main()
