"""Which convolutions gain from being factorized, and which do not: a line for each layer size of a network.

    python benchmarks/layer_gain.py [--model resnet50] [--method low_rank] [--target 4]

Batch 8, one thread, NCHW; the network is solved for the target as in conv_speed.py, and each replaced layer is timed in
turn with its factors on an input of its own size.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict

import torch
from conv_speed import BATCH, METHODS, decomposed, prepared
from prunebench import LayerShape
from prunebench.measure.counts import mac_count
from prunebench_methods.shared.gain import gain, layer_input
from torch import nn


def size_of(shape: LayerShape) -> str:
    """What layers of one line have in common."""
    return f"{shape.kernel[0]}x{shape.kernel[1]} {shape.in_channels:4}->{shape.out_channels:4} on {shape.input_size}"


def line(size: str, shapes: list[LayerShape], network: nn.Module, pruned: nn.Module, total: int) -> str:
    """Share of the network's MACs, how many times fewer they become, and how many times as fast the layer."""
    share = sum(shape.mac_count for shape in shapes) / total
    fewer, gains = [], []
    for shape in shapes:
        layer, new = network.get_submodule(shape.name), pruned.get_submodule(shape.name)
        if isinstance(new, nn.Sequential):
            x = layer_input(layer, shape, BATCH)
            fewer.append(shape.mac_count / mac_count(new, x[:1]))
            gains.append(gain(layer, new, x))
    found = f"MACs / {statistics.mean(fewer):5.2f}  {statistics.median(gains):5.2f}x as fast" if gains else "dense"
    return f"{size:38} {len(shapes):2} layers {share:6.1%} of the MACs  {found}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--method", choices=sorted(set(METHODS) - {"unfold"}), default="low_rank")
    parser.add_argument("--target", type=float, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, _, task = prepared(options.model)
    pruned = decomposed(options.method, network, task, options.target)
    groups: dict[str, list[LayerShape]] = defaultdict(list)
    for shape in task.shapes:
        groups[size_of(shape)].append(shape)
    total = sum(shape.mac_count for shape in task.shapes)
    for size, shapes in groups.items():
        print(line(size, shapes, network, pruned, total), flush=True)


if __name__ == "__main__":
    main()
