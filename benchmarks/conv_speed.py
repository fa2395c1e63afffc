"""What decomposed convolutions gain over dense ones on a CPU, one thread, batch 8: multiply-accumulates against time.

    python benchmarks/conv_speed.py [--models alexnet,densenet121] [--targets 2,4] [--pairs 3] [--methods low_rank,cp]
                                    [--min-gain 1]

Every method is solved for the same ratio of multiply-accumulates of the whole network, ranks rounded up to multiples of
16. With `--min-gain` a layer whose factors are not that many times as fast stays dense, and the others are solved again
for the same ratio, until no layer is slow (not for unfold). "unfold" is low_rank with its first convolution as a
product with the unfolded input, the form of the paper. Dense and decomposed are timed in turn, in thread CPU time, each
in both memory formats; a figure is the median of the ratios of neighbours. "nchw" and "channels_last" compare the
decomposed network with the dense one in NCHW, "fastest" compares each in its own faster format, by the rule of the
protocol's `memory_format = "fastest"`.
Weights are random: they do not change the time of a convolution.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
import torchvision
from method_task import method_task
from prunebench import Method, NotApplicable, Splits, TensorSplit
from prunebench.measure.counts import layer_shapes, mac_count
from prunebench.measure.latency.fastest_form import GAIN
from prunebench.plugins.parameters import complete, create
from prunebench.trial.targets import DenseCounts, solved
from prunebench.trial.task import TrialTask
from prunebench_methods.decompositions.cp import Cp
from prunebench_methods.decompositions.separable_basis import SeparableBasis
from prunebench_methods.decompositions.spatial_svd import SpatialSvd
from prunebench_methods.decompositions.tucker2 import Tucker2
from prunebench_methods.low_rank.low_rank import LowRank
from prunebench_methods.low_rank.low_rank_math import Unfolded
from prunebench_methods.shared.replace import replace_module
from torch import Tensor, nn

BATCH = 8
METHODS: dict[str, tuple[type[Method], dict[str, Any]]] = {
    "low_rank": (LowRank, {"section": "conv", "round_to": 16}),
    "unfold": (LowRank, {"section": "conv", "round_to": 16}),
    "spatial_svd": (SpatialSvd, {"round_to": 16}),
    "tucker2": (Tucker2, {"round_to": 16, "sweeps": 0}),
    "cp": (Cp, {"round_to": 16, "sweeps": 1}),
    "cp, form three": (Cp, {"round_to": 16, "sweeps": 1, "form": "three"}),
    "cp, form two": (Cp, {"round_to": 16, "sweeps": 1, "form": "two"}),
    "separable_basis": (SeparableBasis, {"sweeps": 1}),
}


@dataclass(frozen=True)
class Speed:
    """Ratios of the dense network's time to the decomposed one's."""

    macs: float
    nchw: float  # against the dense network in NCHW, as the next
    channels_last: float
    fastest: float  # each in its own faster format

    def __str__(self) -> str:
        parts = f"nchw {self.nchw:4.2f}  channels_last {self.channels_last:4.2f}  fastest {self.fastest:4.2f}"
        return f"MACs ÷ {self.macs:4.2f}  {parts}"


def decomposed(
    name: str, network: nn.Module, task: TrialTask, target: float, min_gain: float | None = None
) -> nn.Module:
    """The network at `target` times fewer multiply-accumulates; raises `NotApplicable` out of reach."""
    cls, settings = METHODS[name]
    dense = DenseCounts(sum(p.numel() for p in network.parameters()), mac_count(network, task.example_input))
    params = complete(cls, settings, freed=cls.knob)
    measured = {} if min_gain is None else {"min_gain": min_gain, "gain_batch": BATCH}
    while True:  # the layers that stay in the task's shapes become fewer
        value = solved(cls, params, {"theoretical_speedup": target}, task.shapes, dense)
        method: Method = create(cls, {**params, cls.knob: value, **measured})
        task.layers.clear()
        pruned = method.prune(copy.deepcopy(network), task)
        slow = {layer for layer, facts in task.layers.items() if facts.get("left_alone", "").startswith("factors are")}
        if not slow:
            return (as_unfolded(network, pruned) if name == "unfold" else pruned).eval()
        task = replace(task, shapes=tuple(shape for shape in task.shapes if shape.name not in slow))


def as_unfolded(dense: nn.Module, pruned: nn.Module) -> nn.Module:
    """The two convolutions of each layer as the product with its unfolded input, which is the form of the paper."""
    for name, layer in dense.named_modules():
        two = pruned.get_submodule(name) if isinstance(layer, nn.Conv2d) else layer
        if isinstance(layer, nn.Conv2d) and layer.groups == 1 and isinstance(two, nn.Sequential):
            right, left = (convolution.weight.detach().flatten(1) for convolution in two)
            replace_module(pruned, name, Unfolded(layer, left, right))
    return pruned


def speed(dense: nn.Module, pruned: nn.Module, x: Tensor, pairs: int) -> Speed:
    """Medians over pairs of neighbours: both networks in both memory formats in each round."""
    formats = (torch.contiguous_format, torch.channels_last)
    inputs = [x.contiguous(memory_format=form) for form in formats]
    sides = [[copy.deepcopy(network).to(memory_format=form) for form in formats] for network in (dense, pruned)]
    rounds = [
        [[seconds(network, given) for network, given in zip(side, inputs, strict=True)] for side in sides]
        for _ in range(pairs + 1)
    ][1:]
    best = [faster([times[place] for times in rounds]) for place in (0, 1)]

    def ratio(dense_format: int, pruned_format: int) -> float:
        return statistics.median(of_dense[dense_format] / of_pruned[pruned_format] for of_dense, of_pruned in rounds)

    macs = mac_count(dense, x[:1]) / mac_count(pruned, x[:1])
    return Speed(macs, ratio(0, 0), ratio(0, 1), ratio(*best))


def faster(rounds: list[list[float]]) -> int:
    """Which of a side's formats the protocol would keep: 0 for NCHW, 1 for channels_last."""
    return int(statistics.median(nchw / last for nchw, last in rounds) > GAIN)


def seconds(network: nn.Module, x: Tensor) -> float:
    """Thread CPU time of one forward pass."""
    with torch.inference_mode():
        started = time.thread_time()
        network(x)
        return time.thread_time() - started


def prepared(model: str) -> tuple[nn.Module, Tensor, TrialTask]:
    """A network with random weights, a batch for it, and what methods are handed."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(model, weights=None).eval()
    x = torch.randn(BATCH, 3, 224, 224)
    split = TensorSplit(x, torch.arange(BATCH))
    task = method_task(network, Splits(split, split, split, 10, "random"), calibration=BATCH)
    assert tuple(task.shapes) == layer_shapes(network, x[:1])
    return network, x, task


def measured(model: str, targets: list[float], pairs: int, names: list[str], min_gain: float | None) -> None:
    """Print a line for each method and target."""
    network, x, task = prepared(model)
    own = speed(network, network, x, pairs)
    print(f"{model:10} {'dense':16}", own, flush=True)
    for target in targets:
        for name in names:
            print(f"{model:10} {name:16}", _line(network, x, pairs, name, task, target, min_gain), flush=True)


def _line(network: nn.Module, x: Tensor, pairs: int, *wanted: Any) -> str:
    name, task, target, min_gain = wanted
    try:
        found = speed(network, decomposed(name, network, task, target, min_gain), x, pairs)
    except NotApplicable as reason:
        return f"MACs ÷ {target:g} declined: {reason}"
    return str(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="alexnet,resnet50,densenet121")
    parser.add_argument("--targets", default="2,4")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--methods", default=",".join(name for name in METHODS if "," not in name))
    parser.add_argument("--min-gain", type=float)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = options.methods.split(",") + (["cp, form three", "cp, form two"] if "cp" in options.methods else [])
    for model in options.models.split(","):
        targets = [float(target) for target in options.targets.split(",")]
        measured(model, targets, options.pairs, chosen, options.min_gain)


if __name__ == "__main__":
    main()
