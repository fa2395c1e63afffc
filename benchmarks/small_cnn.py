"""What a small CNN for letters loses, and gains in time, when channels are removed without retraining.

    python benchmarks/small_cnn.py [--folder DIR] [--network plain,norm,residual] [--seeds 0,1,2] [--targets 3.9,14]
                                   [--set allocation=global]... [--pairs 9] [--finetune]

`interpolative_channels` for so many times fewer multiply-accumulates, a line per seed and target. `--network`:
small_cnn without or with batch norm, or small_resnet. Each is trained on rendered letters once per seed, 15 epochs
(kept in DIR: minutes each on one core). Points lost are those of the 754 test letters, then, with a standard error,
those of 10,400 letters drawn anew. Dense and pruned are timed in turn on 64 pictures, one thread, in thread CPU time;
the figure is the median of ratios; `--pairs 0` leaves it out. `--finetune` trains the pruned network on, with labels,
by the recipe of the dense one.
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
from prunebench.plugins.parameters import complete, create
from prunebench.records import Recipe
from prunebench.trial.training import fit
from prunebench_datasets.handwriting import RenderedLetters
from prunebench_methods.channels.interpolative import InterpolativeChannels
from prunebench_models.convolutional import SmallCnn, SmallResNet
from prunebench_objectives.classification import Classification
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
    fit(
        network,
        splits.train,
        splits.validation,
        RECIPE,
        objective=Classification(),
        generator=torch.Generator().manual_seed(seed),
    )
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
    parser.add_argument("--finetune", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = RenderedLetters(per_class=PER_CLASS).load(SmallCnn.input_shape, options.folder)
    parts = splits.test, letters_anew(options.folder)
    given = {name: setting(text) for name, _, text in (s.partition("=") for s in options.settings)}
    for kind in options.network.split(","):
        for seed in map(int, options.seeds.split(",")):
            dense = trained(kind, splits, options.folder, seed)
            full, right = mac_count(dense, splits.train.head(1)[0]), [correct(dense, part) for part in parts]
            print(f"{kind}, seed {seed}: dense {full:,} MACs, top-1 {right[0].mean():.2%}", flush=True)
            for target in map(float, options.targets.split(",")):
                network, how = narrowed(dense, splits, {"theoretical_speedup": target, **given})
                if options.finetune:
                    fit(
                        network,
                        splits.train,
                        splits.validation,
                        RECIPE,
                        objective=Classification(),
                        generator=torch.Generator().manual_seed(seed),
                    )
                fast = f", {speedup(dense, network, splits, options.pairs):.2f}x as fast" if options.pairs else ""
                fewer = full / mac_count(network, splits.train.head(1)[0])
                lost = losses(right, [correct(network, part) for part in parts])
                print(f"  MACs / {fewer:.2f}, {lost}{fast} {how}", flush=True)


def narrowed(dense: nn.Module, splits: Splits, given: dict[str, Any]) -> tuple[nn.Module, str]:
    """The pruned network, and its widths and what they took."""
    params = complete(InterpolativeChannels, given)
    task = method_task(dense, splits, params["images"])
    started = time.thread_time()
    network = create(InterpolativeChannels, params).prune(copy.deepcopy(dense), task)
    widths = ", ".join(str(facts["rank"]) for facts in task.layers.values() if "rank" in facts)
    return network, f"({widths}), pruned in {time.thread_time() - started:.0f} s of CPU"


def losses(before: list[Tensor], after: list[Tensor]) -> str:
    """Points lost of the test letters and of those drawn anew."""
    test, anew = (100 * (first - second) for first, second in zip(before, after, strict=True))
    return f"{test.mean():+.2f} points lost, {anew.mean():+.2f} ± {anew.std() / len(anew) ** 0.5:.2f} anew"


if __name__ == "__main__":
    main()
