"""What the C library's allocator does to a speed-up: low rank 16 of the large fully connected network.

    python benchmarks/allocator.py [--pairs 15]

Every line is a process of its own: as the C library is by default, with a fixed small threshold above which blocks go
back to the system at once, and as prunebench's workers start; each with activations that write to new memory and with
ones in place. Dense and low-rank are timed in turn on thread CPU time; page faults are those of one low-rank call.
"""

from __future__ import annotations

import argparse
import copy
import os
import resource
import statistics
import subprocess
import sys

import torch
from conv_speed import seconds
from prunebench.engine.executors.process import KEEP_BLOCKS
from prunebench_methods.shared.layers import new_linear
from prunebench_methods.shared.replace import replace_module
from prunebench_models.fully_connected import LargeFcn
from torch import Tensor, nn

SETTINGS = {"default": "", "returned at once": "glibc.malloc.mmap_threshold=131072", "kept (workers)": KEEP_BLOCKS}
RANK = 16


def factorized(network: nn.Module) -> nn.Module:
    """A copy whose linear layers are two of rank `RANK`; the numbers do not matter to the time."""
    result = copy.deepcopy(network)
    for name, layer in [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)]:
        rank = min(RANK, *layer.weight.shape)
        left, right = layer.weight.detach()[:, :rank], layer.weight.detach()[:rank]
        two = nn.Sequential(new_linear(layer, right), new_linear(layer, left, layer.bias))
        result = replace_module(result, name, two)
    return result.eval()


def in_place(network: nn.Module) -> nn.Module:
    """A copy whose activations overwrite their inputs."""
    result = copy.deepcopy(network)
    for module in result.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return result


def page_faults(network: nn.Module, x: Tensor) -> int:
    """Of one call."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seconds(network, x)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def measured(pairs: int) -> None:
    """Print this process's lines."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dense = LargeFcn().build(10).eval()
    for size in (64, 512):
        x = torch.randn(size, 1, 28, 28)
        for label, change in (("in new memory", copy.deepcopy), ("in place", in_place)):
            sides = change(dense), change(factorized(dense))
            rounds = [tuple(seconds(side, x) for side in sides) for _ in range(pairs + 1)][1:]
            ratio = statistics.median(first / second for first, second in rounds)
            faults = page_faults(sides[1], x)
            print(f"    batch {size:3}, activations {label:13}: {ratio:5.1f} times, {faults:5} page faults", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return measured(options.pairs)
    for label, value in SETTINGS.items():
        print(f"{label}: GLIBC_TUNABLES={value}", flush=True)
        command = [sys.executable, __file__, "--child", "--pairs", str(options.pairs)]
        subprocess.run(command, env={**os.environ, "GLIBC_TUNABLES": value}, check=True)


if __name__ == "__main__":
    main()
