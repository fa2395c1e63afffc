"""What a grid of images costs on one card, before it is run: optimizer steps, passes without gradients, and hours.

    python benchmarks/grid_cost.py grids/cifar.toml                      # by the rates in docs/make/card/, see below
    python benchmarks/grid_cost.py grids/cifar.toml --measure cuda:0     # by steps of each network, measured there

Steps are counted on the planned trials: a dense network's training, and the retraining of each trial, by the
protocol's recipes or as the methods say that train by themselves. Pruned networks count as dense ones.

By the measured rates of a card, a forward pass of a batch takes as long as its multiply-accumulates take at the rate of
ResNet-50 at batch 64, and at least as long as the host needs to launch its layers, at the rate of ResNet-50 at batch 1.
A step takes three forward passes. What is not counted: pruning itself, loading data, and training several at once.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from prunebench import Method, TensorSplit
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.measure.counts import mac_count
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.parameters import create
from prunebench.recipe import Recipe
from prunebench.records import Choice, Trial
from prunebench.trial.training import Course, fit
from prunebench_methods.masks.at_start import AtStart
from prunebench_models.pretrained import fresh
from prunebench_objectives.classification import Classification
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "resnet50"  # the network whose times are the rates, at 224×224
PASSES_OF_A_STEP = 3  # forward, and twice as much backward
SCORED = 2  # times that a pruned network answers the test split without a metric: before and after retraining
READS = {"corruptions": 8}  # passes of a metric that are not one by each network: four kinds, by each
STEPS_MEASURED = 30
BATCH = 256  # images that are scored at a time


@dataclass(frozen=True)
class Sizes:
    """Images of each split."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Work:
    """Optimizer steps, and batches that are answered without gradients."""

    steps: int = 0
    batches: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.steps + other.steps, self.batches + other.batches)


@dataclass(frozen=True)
class Rates:
    """Milliseconds of a step and of a batch without gradients, for each model; and how they are known."""

    step_ms: dict[str, float]
    batch_ms: dict[str, float]
    told: str


def training(recipe: Recipe, sizes: Sizes, steps: int = 0) -> Work:
    """`recipe`, or `steps` of it, with the validation split after each epoch."""
    an_epoch = math.ceil(sizes.train / recipe.batch_size)
    done = steps or recipe.steps or recipe.epochs * an_epoch
    return Work(done, math.ceil(done / an_epoch) * math.ceil(sizes.validation / BATCH))


def retraining(trial: Trial, method: type[Method], sizes: Sizes) -> Work:
    """What a trial trains after the dense network is there; raises ValueError for ways that are not counted."""
    train, finetune, params = trial.protocol.train, trial.protocol.finetune, trial.method.params
    if trial.method.use == "dense":
        return Work()
    if trial.protocol.retraining != "finetune":
        raise ValueError(f"retraining = {trial.protocol.retraining!r} is not counted")
    if not method.trains:
        return training(finetune, sizes)
    if issubclass(method, AtStart):
        return training(train, sizes)
    if "steps" in params:
        return training(finetune, sizes, int(params["steps"]))
    if "rounds" in params:
        one = training(finetune, sizes, int(params.get("epochs", 0)) * math.ceil(sizes.train / finetune.batch_size))
        return Work(one.steps * int(params["rounds"]), one.batches * int(params["rounds"]))
    raise ValueError(f"{trial.method.use} trains in a way that is not counted")


def scoring(trial: Trial, sizes: Sizes) -> Work:
    """The test split, by the pruned network and by each metric with both networks."""
    passes = SCORED + sum(READS.get(metric.use, 2) for metric in map(as_choice, trial.protocol.metrics))
    return Work(batches=passes * math.ceil(sizes.test / BATCH))


def as_choice(metric: Any) -> Choice:
    """A metric of a protocol by its name."""
    return metric if isinstance(metric, Choice) else Choice(metric)


def timing_seconds(trial: Trial) -> float:
    """At most as long as the protocol lets each batch size take."""
    latency = trial.protocol.latency
    return len(latency.batch) * latency.max_seconds * latency.rounds


def by_card(networks: dict[str, nn.Module], shapes: dict[str, Any], batch: int, card: dict[int, float]) -> Rates:
    """From milliseconds of `REFERENCE` at batch 1 and 64."""
    with torch.device("meta"):
        reference = fresh(REFERENCE, 1000).eval()
        macs = mac_count(reference, torch.zeros(1, 3, 224, 224))
    assert macs is not None
    rate, layer = 64 * macs / card[64], card[1] / layer_count(reference)

    def forward(name: str, count: int) -> float:
        own = mac_count(networks[name], torch.zeros(1, *shapes[name]))
        assert own is not None
        return max(count * own / rate, layer * layer_count(networks[name]))

    told = f"{rate / 1e9:.1f} G multiply-accumulates and {1 / layer:.0f} layers a millisecond"
    steps = {name: PASSES_OF_A_STEP * forward(name, batch) for name in networks}
    return Rates(steps, {name: forward(name, BATCH) for name in networks}, told)


def layer_count(network: nn.Module) -> int:
    """Modules that have weights of their own."""
    return sum(1 for module in network.modules() if list(module.parameters(recurse=False)))


def card_times(files: list[Path]) -> tuple[str, dict[int, float]]:
    """The card's name, and the median milliseconds of `REFERENCE` by batch size, of all that was kept."""
    found: dict[int, list[float]] = {1: [], 64: []}
    for file in files:
        kept = json.loads(file.read_text(encoding="utf-8"))
        for row in kept["steps"].get("speed", {}).get("rows", []):
            if row["model"] == REFERENCE:
                found[row["batch"]].append(row["dense_ms"])
    return kept["facts"]["card"], {batch: statistics.median(times) for batch, times in found.items()}


def by_measuring(networks: dict[str, nn.Module], shapes: dict[str, Any], recipe: Recipe, device: str) -> Rates:
    """Of `STEPS_MEASURED` steps of each network on made-up pictures, and as many batches without gradients."""
    rates = Rates({}, {}, "")
    for name, network in networks.items():
        pictures = torch.randn(2 * recipe.batch_size, *shapes[name], device=device)
        split = TensorSplit(pictures, torch.randint(10, (len(pictures),), device=device))
        network.to(device)
        rates.step_ms[name] = milliseconds(partial(train, network, split, recipe, device), device)
        rates.batch_ms[name] = milliseconds(partial(answer, network, pictures[:BATCH]), device)
    return rates


def train(network: nn.Module, split: TensorSplit, recipe: Recipe, device: str) -> None:
    """Some steps, at a constant learning rate, which costs what any schedule costs."""
    steady = replace(recipe, epochs=0, steps=STEPS_MEASURED, schedule="constant", milestones=(), gamma=0.1, lr=1e-3)
    nothing, generator = TensorSplit(split.images[:0], split.labels[:0]), torch.Generator().manual_seed(0)
    fit(network, split, nothing, steady, objective=Classification(), generator=generator, course=Course(device))


@torch.inference_mode()
def answer(network: nn.Module, pictures: torch.Tensor) -> None:
    """Some batches without gradients."""
    for _ in range(STEPS_MEASURED):
        network(pictures)


def milliseconds(work: Callable[[], None], device: str) -> float:
    """Of one of the `STEPS_MEASURED`, after a first time that warms up."""
    for _ in range(2):
        started = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - started) / STEPS_MEASURED


@dataclass(frozen=True)
class Line:
    """Of one model: its dense networks and its trials."""

    networks: int
    trials: int
    dense: Work
    pruned: Work
    timing: float


def counted(trials: tuple[Trial, ...], installed: Installed, sizes: Sizes) -> dict[str, Line]:
    """Label of a model -> what its networks and trials take."""
    found: dict[str, Line] = {}
    for trial in trials:
        line = found.get(trial.model.label, Line(0, 0, Work(), Work(), 0.0))
        is_dense = trial.method.use == "dense"
        first = training(trial.protocol.train, sizes) if is_dense else Work()
        method = installed.find("method", trial.method.use).cls
        found[trial.model.label] = Line(
            line.networks + is_dense,
            line.trials + 1,
            line.dense + first,
            line.pruned + retraining(trial, method, sizes) + scoring(trial, sizes),
            line.timing + timing_seconds(trial),
        )
    return found


def main() -> None:
    """Print a line per model, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path)
    parser.add_argument("--measure", metavar="DEVICE", help="train each network for some steps on this device")
    parser.add_argument(
        "--card", type=Path, nargs="+", default=sorted((ROOT / "docs" / "make" / "card").glob("*.json"))
    )
    parser.add_argument("--sizes", type=int, nargs=3, default=(45_000, 5_000, 10_000), help="train, validation, test")
    asked = parser.parse_args()
    installed = find_installed()
    planned = plan(Grid.parse(asked.grid.read_text(encoding="utf-8")), installed)
    lines = counted(planned.trials, installed, Sizes(*asked.sizes))
    models = {
        trial.model.label: create(installed.find("model", trial.model.use).cls, trial.model.params)
        for trial in planned.trials
    }
    networks = {label: model.build(10).eval() for label, model in models.items()}
    shapes = {label: model.input_shape for label, model in models.items()}
    recipe = planned.trials[0].protocol.train
    if asked.measure:
        rates = by_measuring(networks, shapes, recipe, asked.measure)
    else:
        card, times = card_times(asked.card)
        rates = by_card(networks, shapes, recipe.batch_size, times)
        print(
            f"{card}: {REFERENCE} takes {times[1]:.2f} ms at batch 1 and {times[64]:.2f} ms at batch 64: {rates.told}\n"
        )
    print(table(lines, rates))


def table(lines: dict[str, Line], rates: Rates) -> str:
    """Markdown."""
    heads = ["model", "dense networks", "trials", "steps", "batches scored", "ms a step", "ms a batch", "hours"]
    rows = [heads, ["---"] * len(heads)]
    total = 0.0
    for label, line in lines.items():
        work, step, batch = line.dense + line.pruned, rates.step_ms[label], rates.batch_ms[label]
        hours = (work.steps * step + work.batches * batch) / 3.6e6 + line.timing / 3600
        total += hours
        counts = [f"{count:,}" for count in (line.networks, line.trials, work.steps, work.batches)]
        rows.append([f"`{label}`", *counts, f"{step:.1f}", f"{batch:.1f}", f"{hours:.1f}"])
    sums = [str(sum(getattr(line, name) for line in lines.values())) for name in ("networks", "trials")]
    rows.append(["all", *sums, "", "", "", "", f"{total:.1f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
