"""The task that a method is handed, and the memory of work that trials of one dense network share."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from prunebench.anatomy import Anatomy
from prunebench.errors import InvalidOutput, NotApplicable
from prunebench.plugins.contracts import Method, Objective
from prunebench.records import CurvePoint, Recipe, Value
from prunebench.samples import Tree
from prunebench.shapes import LayerShape
from prunebench.splits import Split
from prunebench.trial.fingerprints import Fingerprint, storages
from prunebench.trial.training import Course, fit

T = TypeVar("T")

MEMORY_LIMIT_BYTES = 2 << 30


@dataclass
class KeptResult:
    """One result, its bytes, and the seconds that it and the kept results it was made of each cost by themselves."""

    value: Any
    size: int
    costs: dict[Hashable, float]


@dataclass
class Memory:
    """Results by key, within a byte budget, least recently used out first."""

    limit_bytes: int = MEMORY_LIMIT_BYTES
    kept: OrderedDict[Hashable, KeptResult] = field(default_factory=OrderedDict)
    marks: dict[Hashable, Fingerprint] = field(default_factory=dict)  # of the tensors inside, by the same keys
    addresses: set[int] = field(default_factory=set)  # of the memory where those tensors lie
    open: list[dict[Hashable, float]] = field(default_factory=list)  # what the results now in the making are made of
    seconds_within: float = 0.0  # spent in `compute` so far, each second once

    def get(self, key: Hashable, compute: Callable[[], T]) -> tuple[T, Mapping[Hashable, float], bool]:
        """The result, what it cost by key (itself and what it was made of), and whether that was earlier.

        A result that is made of others costs its own seconds only, so that costs of several keys can be added.
        """
        is_earlier = key in self.kept
        if is_earlier:
            self.kept.move_to_end(key)
            value, costs = self.kept[key].value, self.kept[key].costs
        else:
            value, costs = self._made(key, compute)
            self._keep(key, value, costs)
        if self.open:
            self.open[-1].update(costs)
        return value, costs, is_earlier

    def _made(self, key: Hashable, compute: Callable[[], T]) -> tuple[T, dict[Hashable, float]]:
        self.open.append({})
        started = time.monotonic()
        within = self.seconds_within
        try:
            value = compute()
        finally:
            parts = self.open.pop()
        seconds = time.monotonic() - started
        own = seconds - (self.seconds_within - within)
        self.seconds_within = within + seconds
        return value, {**parts, key: own}

    def _keep(self, key: Hashable, value: Any, costs: dict[Hashable, float]) -> None:
        size = size_bytes(value)
        if size > self.limit_bytes:
            return
        self.kept[key] = KeptResult(value, size, costs)
        self.marks[key] = Fingerprint.of([(str(key), value)])
        self.addresses.update(storages(value))
        while sum(entry.size for entry in self.kept.values()) > self.limit_bytes:
            oldest, _ = self.kept.popitem(last=False)
            del self.marks[oldest]

    def changed(self) -> Hashable:
        """The key of the first kept value that an operation in place has reached, None where none was."""
        return next((key for key, mark in self.marks.items() if mark.moved()), None)


def size_bytes(value: Any) -> int:
    """Bytes of the tensors and arrays inside `value`, roughly for everything else."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if isinstance(value, Mapping):
        return sum(size_bytes(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return sum(size_bytes(item) for item in value)
    if hasattr(value, "__dataclass_fields__"):
        return sum(size_bytes(getattr(value, name)) for name in value.__dataclass_fields__)
    return sys.getsizeof(value)


@dataclass
class TrialTask:
    """`prunebench.Task` for one trial (or one stage of a pipeline)."""

    device: torch.device
    seed: int
    finetune: Recipe
    train: Split
    validation: Split
    recipe: Recipe
    calibration: Tree
    example_input: Tree
    shapes: tuple[LayerShape, ...]
    class_count: int | None
    outputs: int
    objective: Objective
    memory: Memory | None  # None where the network is not the dense one
    initial: Callable[[int], dict[str, Tensor]]
    make: Callable[[str, dict[str, Value]], Method]
    breathe: Callable[[], None]
    generator: torch.Generator
    anatomy: Anatomy | None = None
    teacher: nn.Module | None = None  # the dense network, for recipes that learn from its answers
    batch_size: int = 256
    shared_seconds: float = 0.0  # what `once` saved
    paid: set[Hashable] = field(default_factory=set)  # the kept results whose seconds this trial has counted
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """See `prunebench.Task`."""
        if self.memory is None:
            return compute()
        value, costs, is_earlier = self.memory.get(key, compute)
        if is_earlier:
            self.shared_seconds += sum(seconds for part, seconds in costs.items() if part not in self.paid)
        self.paid.update(costs)
        return value

    def fit(self, network: nn.Module, **recipe: Any) -> tuple[CurvePoint, ...]:
        """See `prunebench.Task`."""
        extra = {key: recipe.pop(key) for key in ("max_steps", "after_step", "extra_loss") if key in recipe}
        course = Course(self.device, "finetune", keep_zeros=True, teacher=self.teacher, breathe=self.breathe, **extra)
        try:
            curve = fit(
                network,
                self.train,
                self.validation,
                replace(self.finetune, **recipe),
                objective=self.objective,
                generator=self.generator,
                course=course,
            )
        except InvalidOutput as error:  # as of one that answers with more than its outputs while it trains
            raise NotApplicable(f"the method trains, and {error}") from error
        self.curve.extend(curve)
        return curve

    def rewound(self, step: int = 0) -> dict[str, Tensor]:
        """See `prunebench.Task`."""
        return self.initial(step)

    def train_recipe(self) -> Mapping[str, Any]:
        """See `prunebench.Task`."""
        return {part.name: getattr(self.recipe, part.name) for part in fields(self.recipe)}

    def layer(self, name: str, **facts: Any) -> None:
        """See `prunebench.Task`."""
        self.layers.setdefault(name, {}).update(facts)

    def note(self, text: str) -> None:
        """See `prunebench.Task`."""
        self.notes.append(text)

    def method(self, name: str, **params: Value) -> Method:
        """See `prunebench.Task`."""
        return self.make(name, params)


def merged_layers(stages: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What the stages of a pipeline said of each layer, the later word standing."""
    result: dict[str, dict[str, Any]] = {}
    for layers in stages:
        for name, facts in layers.items():
            result.setdefault(name, {}).update(facts)
    return result
