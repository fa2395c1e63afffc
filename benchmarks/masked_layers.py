"""Why a network with zeros can be faster where nothing skips a zero: `python benchmarks/masked_layers.py`.

LeNet-5 is trained on the digits for a few epochs, and a copy keeps 5 % of its weights. Each layer of both is timed on
its own activations, in turn, in one process; then max pooling alone, on noise and on a constant. Least decile of each.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from prunebench.plugins.discovery import find_installed
from prunebench_models.chains import lenet
from torch import Tensor, nn

KEPT, BATCH, PAIRS = 0.05, 64, 100


def trained(inputs: Tensor, targets: Tensor) -> nn.Sequential:
    """LeNet-5 after six epochs."""
    torch.manual_seed(0)
    net = lenet(10)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(6):
        for start in range(0, len(inputs), BATCH):
            optimizer.zero_grad()
            outputs = net(inputs[start : start + BATCH])
            nn.functional.cross_entropy(outputs, targets[start : start + BATCH]).backward()
            optimizer.step()
    return net.eval()


def masked(net: nn.Sequential) -> nn.Sequential:
    """A copy whose layers keep the largest 5 % of their weights."""
    pruned = copy.deepcopy(net)
    for layer in pruned:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            size = layer.weight.abs()
            layer.weight.data *= size >= size.quantile(1 - KEPT)
    return pruned


def both(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Microseconds of each, in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(PAIRS):
        for call, found in zip((one, other), times, strict=True):
            start = time.perf_counter()
            call()
            found.append(1e6 * (time.perf_counter() - start))
    return statistics.quantiles(times[0], n=10)[0], statistics.quantiles(times[1], n=10)[0]


def told(name: str, first: float, second: float) -> None:
    """One line."""
    print(f"{name:<28} {first:>8.1f} {second:>8.1f} us  {first / second:>5.2f}x")


def main() -> None:
    """A line per layer, the sum, and max pooling of noise beside a constant."""
    torch.set_num_threads(1)
    splits = find_installed((), ()).of_kind("dataset")["digits"].cls().load((1, 32, 32), Path(tempfile.gettempdir()))
    net = trained(splits.train.inputs, splits.train.targets)
    pruned = masked(net)
    images, truth = splits.test.inputs, splits.test.targets
    print(f"{'batch of ' + str(BATCH):<28} {'dense':>8} {'masked':>8}")
    with torch.inference_mode():
        right = [(found(images).argmax(1) == truth).float().mean().item() for found in (net, pruned)]
        inputs, sums = [images[:BATCH], images[:BATCH]], [0.0, 0.0]
        for name, layer in net.named_children():
            other = pruned.get_submodule(name)
            first, second = both(lambda: layer(inputs[0]), lambda: other(inputs[1]))  # noqa: B023
            told(name, first, second)
            sums = [sums[0] + first, sums[1] + second]
            inputs = [layer(inputs[0]), other(inputs[1])]
        told("all layers", *sums)
        print(f"accuracy {right[0]:.1%} and {right[1]:.1%}")
        pool, noise = nn.MaxPool2d(2), torch.randn(BATCH, 6, 30, 30)
        told("max pooling, noise, constant", *both(lambda: pool(noise), lambda: pool(torch.zeros_like(noise))))


if __name__ == "__main__":
    main()
