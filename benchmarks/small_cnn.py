"""What a small CNN for letters loses, and gains in time, when channels are removed without retraining.

    python benchmarks/small_cnn.py [--folder DIR] [--network plain,norm,residual] [--seeds 0,1,2] [--targets 3.9,14]
                                   [--set allocation=global]... [--pairs 9]

`interpolative_channels` for so many times fewer multiply-accumulates, a line a seed and target. `--network`: small_cnn
without or with batch norm, or small_resnet. Each is trained on rendered letters once a seed, 15 epochs (kept in DIR:
minutes each on one core). Points lost are those of the 754 test letters, then, with a standard error, those of 10,400
letters drawn anew. Dense and pruned are timed in turn on 64 pictures, one thread, in thread CPU time; the figure is the
median of ratios; `--pairs 0` leaves it out.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import tomllib
from pathlib import Path
from typing import Any

import torch
from conv_speed import seconds
from method_task import hits, method_task
from prunebench import Model, Split, Splits, TensorSplit
from prunebench.measure.counts import mac_count
from prunebench.parameters import complete, create
from prunebench.records import Recipe
from prunebench.training import fit
from prunebench_datasets.handwriting import RenderedLetters
from prunebench_methods.interpolative import InterpolativeChannels
from prunebench_models.convolutional import SmallCnn, SmallResNet
from torch import Tensor, nn

PER_CLASS = 200
ANEW = 400  # letters of each class that are drawn anew
BATCH = 64
RECIPE = Recipe(epochs=15, patience=5, batch_size=64, lr=1e-3, optimizer="adam")
NETWORKS: dict[str, tuple[Model, str]] = {
    "plain": (SmallCnn(), "small_cnn"),
    "norm": (SmallCnn(batch_norm=True), "small_cnn-norm"),
    "residual": (SmallResNet(), "small_resnet"),
}


def trained(kind: str, splits: Splits, folder: Path, seed: int) -> nn.Module:
    """The network, read from `folder` when it was trained before."""
    model, stem = NETWORKS[kind]
    torch.manual_seed(seed)
    network = model.build(splits.class_count)
    path = folder / f"{stem}-{seed}.pt"
    if path.exists():
        network.load_state_dict(torch.load(path))
        return network.eval()
    fit(network, splits.train, splits.validation, RECIPE, generator=torch.Generator().manual_seed(seed))
    torch.save(network.state_dict(), path)
    return network.eval()


def setting(text: str) -> Any:
    """A TOML value; a bare word is a string."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def letters_anew(folder: Path) -> TensorSplit:
    """Letters of the same kind that no network was trained, pruned or tested on."""
    parts = RenderedLetters(per_class=ANEW, drawing=1).load(SmallCnn.input_shape, folder)
    images, labels = zip(*(part.head(len(part)) for part in (parts.train, parts.validation, parts.test)), strict=True)
    return TensorSplit(torch.cat(images), torch.cat(labels))


def correct(network: nn.Module, split: Split) -> Tensor:
    """Whether each sample is recognised, as 0 or 1."""
    return hits(network, *split.head(len(split))).double()


def speedup(dense: nn.Module, network: nn.Module, splits: Splits, pairs: int) -> float:
    """Median ratio of neighbours, the first pair left out."""
    x, _ = splits.train.head(BATCH)
    rounds = [(seconds(dense, x), seconds(network, x)) for _ in range(pairs + 1)][1:]
    return statistics.median(first / second for first, second in rounds)


def main() -> None:
    """Print a line for each network, seed and target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--network", default="plain", help=", ".join(NETWORKS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--targets", default="3.9,14")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="FIELD=VALUE")
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = RenderedLetters(per_class=PER_CLASS).load(SmallCnn.input_shape, options.folder)
    anew = letters_anew(options.folder)
    given = {name: setting(text) for name, _, text in (s.partition("=") for s in options.settings)}
    for kind in options.network.split(","):
        for seed in map(int, options.seeds.split(",")):
            dense = trained(kind, splits, options.folder, seed)
            full, accuracy = mac_count(dense, splits.train.head(1)[0]), float(correct(dense, splits.test).mean())
            print(f"{kind}, seed {seed}: dense {full:,} MACs, top-1 {accuracy:.2%}", flush=True)
            for target in map(float, options.targets.split(",")):
                print(f"  {line(dense, splits, anew, target, given, options.pairs)}", flush=True)


def line(dense: nn.Module, splits: Splits, anew: Split, target: float, given: dict[str, Any], pairs: int) -> str:
    """What one target leaves."""
    params = complete(InterpolativeChannels, {"theoretical_speedup": target, **given})
    task = method_task(dense, splits, params["images"])
    started = time.thread_time()
    network = create(InterpolativeChannels, params).prune(copy.deepcopy(dense), task)
    spent = time.thread_time() - started
    fewer = mac_count(dense, task.example_input) / mac_count(network, task.example_input)
    drop = float((correct(dense, splits.test) - correct(network, splits.test)).mean())
    lost = correct(dense, anew) - correct(network, anew)
    widths = ", ".join(str(facts["rank"]) for facts in task.layers.values() if "rank" in facts)
    fast = f", {speedup(dense, network, splits, pairs):.2f}x as fast" if pairs else ""
    return (
        f"MACs / {fewer:.2f}, {100 * drop:+.2f} points lost, {100 * float(lost.mean()):+.2f} ± "
        f"{100 * float(lost.std()) / len(lost) ** 0.5:.2f} anew{fast} ({widths}), pruned in {spent:.0f} s of CPU"
    )


if __name__ == "__main__":
    main()
