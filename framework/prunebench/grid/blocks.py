"""A grid's blocks: products of axes. They are counted without being expanded, and expanded lazily."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from prunebench.records import Value


@dataclass(frozen=True)
class Draft:
    """A plugin's name with the parameters that the grid gives, not yet completed or checked."""

    use: str
    params: dict[str, Value]
    stages: tuple[Draft, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One line of an axis: a name and its own axes, or a pipeline of entries."""

    use: str
    axes: dict[str, tuple[Value, ...]]
    stages: tuple[Entry, ...] = ()

    @property
    def count(self) -> int:
        """The number of drafts that this entry stands for."""
        own = math.prod(len(axis) for axis in self.axes.values())
        return own * math.prod(stage.count for stage in self.stages)

    def drafts(self) -> Iterator[Draft]:
        """The product of the entry's axes, first axis slowest."""
        stage_choices = itertools.product(*(list(stage.drafts()) for stage in self.stages))
        for stages in stage_choices:
            for values in itertools.product(*self.axes.values()):
                yield Draft(self.use, dict(zip(self.axes, values, strict=True)), stages)


@dataclass(frozen=True)
class Exclusion:
    """Cells that are left out: every key given must match; `why` is shown wherever the cell is missed."""

    why: str
    match: dict[str, tuple[Value, ...]]  # "dataset", "model", "method", "seed" or a method's parameter

    def covers(self, dataset: Draft, model: Draft, method: Draft, seed: int) -> bool:
        """Whether the cell is left out by this rule."""
        facts: dict[str, Value] = {**method.params, "dataset": dataset.use, "model": model.use, "seed": seed}
        facts["method"] = method.use
        return all(facts.get(key) in allowed for key, allowed in self.match.items())


@dataclass(frozen=True)
class Block:
    """A product of axes."""

    datasets: tuple[Entry, ...]
    models: tuple[Entry, ...]
    methods: tuple[Entry, ...]
    seeds: tuple[int, ...]
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def count(self) -> int:
        """Cells before exclusions."""
        axes = (self.datasets, self.models, self.methods)
        return len(self.seeds) * math.prod(sum(entry.count for entry in axis) for axis in axes)
