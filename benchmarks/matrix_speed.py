"""What matrix methods cost on a decoder, and how fast what they leave is: CPU seconds, and ratios in one process.

    python benchmarks/matrix_speed.py [--sizes small|smollm2] [--windows 32] [--keep 0.5,0.8]
        [--only grams,decompositions,solvers,forms,compiled,widths]

The decoder has fresh weights in the sizes of `tiny_gpt` or of SmolLM2-135M, and reads random tokens: no package and no
file is needed, and no figure depends on what the weights are. One thread, and, unless `GLIBC_TUNABLES` is set, the
allocator of workers. Lines:

- grams: float32 products X' X of the blocks' inputs alone, over the same added up in float64 as methods do (1 is none
  lost); and CPU seconds of all Gram matrices, forward passes included.
- decompositions: CPU seconds of `whitened_svd` at a first share with Gram matrices at hand, and at further ones; pivot
  rows twice, since the first share of them eliminates. Before them, what this machine does with products and
  eigenproblems at the same time: seconds on another machine, or beside other work, are to be read by those.
- solvers: CPU seconds of SparseGPT and GPTQ over all layers, Gram matrices at hand.
- forms: how many times as fast as dense its blocks are, a window of 512 tokens and four of 128 (of the first five
  blocks), and one token behind 512 others (of all): two factors and pivot rows; and with stand-ins for linear layers
  that only copy: of what they save, halved layers save half.
- compiled: the windows of `forms`, two factors, dense and they both through `torch.compile`.
- widths: as `forms`, of narrower MLPs, and over a network that was built so narrow (the bound).
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from matrix_methods import task_for, timed
from prunebench import Method
from prunebench.engine.executors.process import KEEP_BLOCKS
from prunebench.trial.task import TrialTask
from prunebench_methods.blocks.mlp_width import MlpWidth
from prunebench_methods.low_rank.whitened import WhitenedSvd
from prunebench_methods.masks.sparsegpt import SparseGPT
from prunebench_methods.quantization.gptq import GPTQ
from prunebench_methods.shared.gain import gain
from prunebench_methods.shared.grams import Gram, input_grams
from prunebench_models.decoder import Decoder, Past, Sizes, initialised
from torch import Tensor, nn

SIZES = {"small": Sizes(256, 3, 128, 4, 2, 288), "smollm2": Sizes(49152, 30, 576, 9, 3, 1536)}
WINDOW, SHORT, FIRST, ROWS, ROUNDS = 512, 4, 5, 4096, 5
FACTORS: dict[str, dict[str, Any]] = {
    "factors": {},
    "factors, no bias, ranks of 16": {"centred": False, "round_to": 16},
}


@dataclass(frozen=True)
class Given:
    """What every part is measured on."""

    network: Decoder
    task: TrialTask
    sizes: Sizes
    keep: tuple[float, ...]

    def pruned(self, method: Method) -> tuple[nn.Module, float]:
        """A pruned copy, and the CPU seconds of pruning alone."""
        own = copy.deepcopy(self.network)
        found: tuple[nn.Module, float] = timed(lambda: method.prune(own, self.task))
        return found


class Blocks(nn.Module):
    """Blocks of a decoder without its head, behind what they keep of earlier tokens."""

    def __init__(self, blocks: nn.ModuleList, past: Past | None = None) -> None:
        super().__init__()
        self.blocks, self.past = blocks, past

    def forward(self, x: Tensor) -> Tensor:
        """(1, T, width) to the same."""
        for place, block in enumerate(self.blocks):
            x = block(x, None if self.past is None else self.past[place])
        return x


def seconds(action: Callable[[], object]) -> float:
    """CPU seconds of this thread, the middle of some rounds."""
    action()
    spent = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        action()
        spent.append(time.thread_time() - started)
    return statistics.median(spent)


def grams(given: Given) -> Iterator[str]:
    """How much of the rate of products is left, and what all take."""
    plain = added = 0.0
    for width in (given.sizes.width, given.sizes.mlp):
        rows = torch.randn(ROWS, width)
        gram = Gram()
        gram.add(rows[:, None])
        plain += seconds(lambda rows=rows: rows.T @ rows)
        added += seconds(lambda gram=gram, rows=rows: gram.add(rows[:, None]))
    yield f"float32 products / added up in float64: {plain / added:.2f} of the rate"
    _, spent = timed(lambda: input_grams(given.network, given.task))
    yield f"all Gram matrices of {given.task.calibration.numel():,} tokens: {spent:.1f} CPU s, forward passes included"


def decompositions(given: Given) -> Iterator[str]:
    """One share, then another."""
    input_grams(given.network, given.task)
    layers, (low, high) = len(given.task.shapes), given.keep
    yield rates(given.sizes.width)
    shares = {
        "the first share, factors": WhitenedSvd(keep=low),
        "a further share, factors": WhitenedSvd(keep=high),
        "the first share of pivot rows": WhitenedSvd(keep=high, form="pivot"),
        "a further share of pivot rows": WhitenedSvd(keep=low, form="pivot"),
    }
    for told, method in shares.items():
        yield f"whitened_svd of {layers} layers, {told}: {given.pruned(method)[1]:.2f} CPU s"
    yield rates(given.sizes.width)


def rates(side: int) -> str:
    """What the machine does now with square matrices of this side."""
    wide = torch.randn(side, side, dtype=torch.float64)
    single, moment = wide.float(), wide @ wide.T
    half, whole = (2 * side**3 / seconds(lambda a=a: a @ a) / 1e9 for a in (single, wide))
    eigen = seconds(lambda: torch.linalg.eigh(moment))
    return (
        f"products of {side} by {side}: {half:.0f} GFLOP/s in float32, {whole:.0f} in float64; "
        f"an eigenproblem in float64: {1e3 * eigen:.0f} ms"
    )


def solvers(given: Given) -> Iterator[str]:
    """Column after column of every layer."""
    input_grams(given.network, given.task)
    for method in (SparseGPT(keep=0.5), GPTQ(bits=4), GPTQ(bits=4, group=64)):
        _, spent = given.pruned(method)
        yield f"{method.name}{f', groups of {method.group}' if getattr(method, 'group', 0) else ''}: {spent:.1f} CPU s"


def speeds(given: Given, before: nn.Module, after: nn.Module) -> str:
    """How many times as fast `after` is, in windows and a token."""
    sizes = given.sizes
    shape = (1, sizes.key_value_heads, WINDOW, sizes.head_dim)
    past: Past = [(torch.randn(shape), torch.randn(shape)) for _ in range(sizes.depth)]
    decode = (Blocks(network.model.layers, past) for network in (before, after))
    found = gain(*decode, torch.randn(1, 1, sizes.width))
    return f"{in_windows(given, *firsts(before, after))}, {found:.2f}x decode"


def firsts(before: nn.Module, after: nn.Module) -> list[nn.Module]:
    """The first blocks of both."""
    return [Blocks(network.model.layers[:FIRST]) for network in (before, after)]


def in_windows(given: Given, before: nn.Module, after: nn.Module, *, compile_both: bool = False) -> str:
    """How many times as fast `after` is in one window and in short ones of as many tokens together."""
    one, found = torch.randn(1, WINDOW, given.sizes.width), []
    for count in (1, SHORT):
        sides = [before, after]
        if compile_both:  # for this shape alone, and with nothing compiled before
            torch.compiler.reset()
            sides = [torch.compile(side, dynamic=False) for side in sides]
        found.append(gain(*sides, one.view(count, WINDOW // count, given.sizes.width)))
    return f"{found[0]:.2f}x prefill, {found[1]:.2f}x in {SHORT} windows"


class Standing(nn.Module):
    """Takes a linear layer's place and multiplies nothing: some of its inputs again and again, as many as outputs."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.count = layer.out_features

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to (..., m)."""
        repeats = -(-self.count // x.shape[-1])
        return torch.cat([x] * repeats, -1)[..., : self.count].contiguous()


def unmultiplied(network: nn.Module) -> nn.Module:
    """A copy whose blocks have no linear layers."""
    own = copy.deepcopy(network)
    linear = [(block, name) for block in own.model.layers for name, one in block.named_modules() if is_linear(one)]
    for block, name in linear:
        block.set_submodule(name, Standing(block.get_submodule(name)))
    return own


def is_linear(module: nn.Module) -> bool:
    """Whether it is a linear layer."""
    return isinstance(module, nn.Linear)


def forms(given: Given) -> Iterator[str]:
    """Both forms at every share, behind dense against itself and against blocks that multiply nothing."""
    yield f"dense again: {speeds(given, given.network, copy.deepcopy(given.network))}"
    yield f"without linear layers: {speeds(given, given.network, unmultiplied(given.network))}"
    for keep in given.keep:
        for form, settings in {**FACTORS, "pivot": {"form": "pivot"}}.items():
            after, _ = given.pruned(WhitenedSvd(keep=keep, **settings))
            yield f"{form} at {keep:g}: {speeds(given, given.network, after)}"


def compiled(given: Given) -> Iterator[str]:
    """Two factors over dense where both are compiled, and dense over itself."""
    for keep in given.keep:
        for form, settings in FACTORS.items():
            after, _ = given.pruned(WhitenedSvd(keep=keep, **settings))
            yield f"{form} at {keep:g}: {in_windows(given, *firsts(given.network, after), compile_both=True)}"
    again = firsts(given.network, copy.deepcopy(given.network))
    yield f"dense again: {in_windows(given, *again, compile_both=True)}"


def widths(given: Given) -> Iterator[str]:
    """Narrower MLPs against dense, and against what was never wider."""
    for keep in given.keep:
        after, _ = given.pruned(MlpWidth(keep=keep))
        narrow = Decoder(replace(given.sizes, mlp=MlpWidth(keep=keep).width(given.sizes.mlp))).eval()
        yield f"widths at {keep:g}: {speeds(given, given.network, after)}"
        yield f"widths at {keep:g}, of the bound: {speeds(given, narrow, after)}"


PARTS = {part.__name__: part for part in (grams, decompositions, solvers, forms, compiled, widths)}


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=tuple(SIZES), default="small")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma between them")
    parser.add_argument("--windows", type=int, default=32, help="calibration windows of 512 tokens")
    parser.add_argument("--keep", default="0.5,0.8", help="two shares, comma between them")
    asked = parser.parse_args()
    if unknown := [name for name in asked.only.split(",") if name not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    shares = tuple(float(share) for share in asked.keep.split(","))
    if len(shares) != 2:
        parser.error(f"--keep needs two shares, got {asked.keep}")
    if "GLIBC_TUNABLES" not in os.environ:  # the C library reads it at the start
        os.execve(sys.executable, (sys.executable, *sys.argv), {**os.environ, "GLIBC_TUNABLES": KEEP_BLOCKS})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = SIZES[asked.sizes]
    network = initialised(Decoder(sizes), sizes.depth).eval()
    tokens = torch.randint(sizes.vocabulary, (asked.windows, WINDOW))
    task = task_for(network, tokens, sizes.depth)
    task.outputs = sizes.vocabulary
    for name in asked.only.split(","):
        for line in PARTS[name](Given(network, task, sizes, shares)):
            print(f"{name:14} {line}", flush=True)


if __name__ == "__main__":
    main()
