"""Tries methods on two more tasks: a table with a number as its target, and text.

A method may decline either with a reason. What it changes is checked as on images: shapes, declared counts, its
loosest setting, and a step of training by the objective's own loss.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunebench.errors import NotApplicable
from prunebench.measure.counts import counts
from prunebench.plugins.contracts import Method
from prunebench.randomness import seeded
from prunebench.splits import Splits, TensorSplit
from prunebench.testing import bench
from prunebench.testing.findings import Finding, instance_or_findings, located
from prunebench.trial.masks import fold_masks
from prunebench.trial.targets import closed_form_faults
from prunebench.trial.task import TrialTask

SAMPLES, COLUMNS, WORDS, WINDOW, WIDTH = 96, 12, 19, 10, 16
IDENTITY_TOLERANCE = 1e-3
Row = tuple[str, str, str]  # check, seen, fix


@dataclass(frozen=True)
class Other:
    """A network with the data that it reads and the objective that scores it."""

    name: str
    objective: str
    build: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, Tensor]]
    outputs: int

    def network(self) -> nn.Module:
        """Seeded, in evaluation mode."""
        with seeded(7):
            return self.build().eval()

    def task(self, dense: nn.Module) -> TrialTask:
        """A real task for `dense`."""
        inputs, targets = self.data()
        train, validation, test = (TensorSplit(inputs[a:b], targets[a:b]) for a, b in ((0, 64), (64, 80), (80, 96)))
        data = Splits(train, validation, test, fingerprint="made up", outputs=self.outputs)
        return bench.task(dense, data=data, objective=self.objective)


def tabular() -> nn.Module:
    """Three linear layers with ReLU between them, from twelve columns to one number."""
    return nn.Sequential(nn.Linear(COLUMNS, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 1))


class Reader(nn.Module):
    """An embedding, one causal head of attention, an MLP, and a linear layer to the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 40), nn.Linear(40, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) int64 -> (B, T, words)."""
        x = self.words(tokens)
        scores = self.q(x) @ self.k(x).mT / math.sqrt(WIDTH)  # (B, T, T)
        later = torch.ones_like(scores[0]).triu(1).bool()
        x = x + self.o(scores.masked_fill(later, -torch.inf).softmax(-1) @ self.v(x))
        x = x + self.down(torch.relu(self.up(self.norm(x))))
        logits: Tensor = self.head(x)
        return logits


def rows() -> tuple[Tensor, Tensor]:
    """Inputs (N, columns) with targets (N,)."""
    inputs = torch.randn(SAMPLES, COLUMNS, generator=torch.Generator().manual_seed(11))
    return inputs, inputs[:, :3].sum(1).tanh()


def windows() -> tuple[Tensor, Tensor]:
    """Tokens (N, T), and the token after each (N, T)."""
    tokens = torch.randint(0, WORDS, (SAMPLES, WINDOW + 1), generator=torch.Generator().manual_seed(11))
    return tokens[:, :-1], tokens[:, 1:]


OTHERS = (
    Other("tabular", "regression", tabular, rows, 1),
    Other("sequence", "language_modelling", Reader, windows, WORDS),
)


def other_findings(cls: type[Method], method: Method) -> Iterator[Finding]:
    """Findings about the method on each of the two that its `objectives` include."""
    for other in OTHERS:
        if not method.objectives or other.objective in method.objectives:
            for check, seen, fix in _of(cls, method, other):
                yield Finding(check, f"{seen} ({other.name})", fix)


def _of(cls: type[Method], method: Method, other: Other) -> Iterator[Row]:
    dense = other.network()
    task = other.task(dense)
    try:
        pruned = _pruned(method, dense, task)
    except NotApplicable as declined:
        if not str(declined):
            yield "declines", "NotApplicable without a reason", 'raise NotApplicable("why")'
        return
    except Exception as error:
        seen = f"prune raised {located(error)}"
        yield "raises", seen, 'handle the layer, or raise NotApplicable("why"), or say `objectives`'
        return
    faults = list(_output(dense, pruned, task))
    yield from faults
    if not faults:
        yield from _counts(method, dense, pruned, task)
        yield from _loosest(cls, other, dense)
        yield from _trained(other, dense, pruned)


def _pruned(method: Method, dense: nn.Module, task: TrialTask) -> nn.Module:
    with seeded(0), torch.set_grad_enabled(True):
        return fold_masks(method.prune(copy.deepcopy(dense), task), dense)


def _output(dense: nn.Module, pruned: nn.Module, task: TrialTask) -> Iterator[Row]:
    inputs = task.calibration[:8]
    try:
        with torch.inference_mode():
            expected, got = dense(inputs), pruned.eval()(inputs)
    except Exception as error:
        yield "output", f"the pruned network fails: {' '.join(str(error).split())[:200]}", "fix its shapes"
        return
    if got.shape != expected.shape:
        yield "output", f"shape {tuple(got.shape)} instead of {tuple(expected.shape)}", "keep the output's shape"
    elif not bool(got.isfinite().all()):
        yield "output", "NaN or infinity in the outputs", "check the layer's numerics"


def _counts(method: Method, dense: nn.Module, pruned: nn.Module, task: TrialTask) -> Iterator[Row]:
    before, after = counts(dense, task.example_input), counts(pruned, task.example_input, dense=dense)
    for fault in closed_form_faults(method, task.shapes, before, after):
        yield "counts", fault, "fix the closed form or the network"


def _loosest(cls: type[Method], other: Other, dense: nn.Module) -> Iterator[Row]:
    method, faults = instance_or_findings(cls, dict(cls.loosest)) if cls.loosest is not None else (None, [])
    if method is None or faults:
        return
    task = other.task(dense)
    try:
        pruned = _pruned(method, dense, task)
    except NotApplicable:
        return
    except Exception as error:
        yield "loosest", f"fails at {dict(cls.loosest or {})}: {located(error)}", "fix `loosest`"
        return
    with torch.inference_mode():
        expected, got = dense(task.calibration), pruned.eval()(task.calibration)
    difference = float((got - expected).norm() / expected.norm())
    if not difference <= IDENTITY_TOLERANCE:
        seen = f"at {dict(cls.loosest or {})} the output differs by {difference:.2g} (relative)"
        yield "loosest", seen, "carry every factor (singular values, biases, scales)"


def _trained(other: Other, dense: nn.Module, pruned: nn.Module) -> Iterator[Row]:
    try:
        other.task(dense).fit(pruned, epochs=1, max_steps=1)
    except Exception as error:
        fix = "keep forward differentiable; compute weights under torch.no_grad(), not torch.inference_mode()"
        yield "trained", f"fine-tuning fails: {' '.join(str(error).split())[:200]}", fix
