"""Grid + installed plugins -> complete, checked trials, in the order that shares the most work.

Every typo is found here, before anything is trained. Equal cells become one trial. The dense network of every
(data set, model, seed) comes first in its group, because every ratio is a comparison with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from prunebench.errors import GridError, PlanError, PluginError
from prunebench.grid.blocks import Block, Draft, Entry
from prunebench.grid.exclusions import idle_reason
from prunebench.grid.grid import TRIAL_LIMIT, Grid
from prunebench.plugins.contracts import Dataset, Method, Metric, Model
from prunebench.plugins.discovery import Installed, Plugin
from prunebench.plugins.parameters import complete, create, defaults, field_types, require_known, require_solvable
from prunebench.plugins.registry import Registry
from prunebench.records import DENSE, Choice, Protocol, Trial, Value, short_hash

TARGETS = ("compression", "theoretical_speedup")


@dataclass(frozen=True)
class Declined:
    """A cell that the grid itself leaves out."""

    dataset: str
    model: str
    method: str
    seed: int
    why: str


@dataclass(frozen=True)
class Plan:
    """The trials of a grid, and what was left out."""

    grid: Grid
    trials: tuple[Trial, ...]
    declined: tuple[Declined, ...] = ()
    warnings: tuple[str, ...] = ()


def plan(grid: Grid, installed: Installed, registry: Registry | None = None, limit: int = TRIAL_LIMIT) -> Plan:
    """The trials of `grid`; a `GridError`, `PlanError` or `PluginError` names the first fault and its place."""
    if grid.count > limit:
        raise GridError(
            f"the grid has {grid.count:,} cells, more than {limit:,}: make an axis shorter or raise --limit"
        )
    return _Planner(grid, installed, registry or Registry()).plan()


@dataclass
class _Planner:
    grid: Grid
    installed: Installed
    registry: Registry
    choices: dict[str, Choice] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    declined: list[Declined] = field(default_factory=list)
    protocols: tuple[Protocol, ...] = ()  # the grid's, the settings of their metrics complete

    def plan(self) -> Plan:
        with self._place("protocol, metrics"):
            self.protocols = tuple(self._with_metrics(protocol) for protocol in self.grid.protocols)
        self._require_known_fields()
        groups: dict[str, dict[str, Trial]] = {}
        doubled = 0
        for number, block in enumerate(self.grid.blocks, 1):
            for trial in self._trials(block, f"block {number}"):
                group = groups.setdefault(trial.network_id, {})
                doubled += trial.id in group and trial.method.use != "dense"
                group[trial.id] = trial
        if doubled:
            self.warnings.append(f"{doubled} cell(s) of the grid are the same as another and run once")
        trials = tuple(trial for group in groups.values() for trial in group.values())
        if not trials:
            raise PlanError(f"{self.grid.name}: 0 trials: every cell is excluded")
        warnings = (*self.grid.warnings, *self.warnings)
        return Plan(self.grid, trials, tuple(self.declined), warnings)

    def _with_metrics(self, protocol: Protocol) -> Protocol:
        metrics = tuple(self._metric(one) for one in protocol.metrics)
        return dataclasses.replace(protocol, metrics=metrics) if protocol.metrics else protocol

    def _metric(self, given: str | Choice) -> str | Choice:
        """The metric as a trial names it: by its name alone where all its settings are the default."""
        name, params = (given, {}) if isinstance(given, str) else (given.use, given.params)
        choice = self._checked("metric", Draft(name, params))
        return name if isinstance(given, str) or choice.params == _usual(self.installed, name) else choice

    @contextlib.contextmanager
    def _place(self, where: str) -> Iterator[None]:
        """Errors raised inside begin with the file and the place, as those of a grid do."""
        try:
            yield
        except (PlanError, PluginError) as error:
            raise type(error)(f"{self.grid.source or self.grid.name}: {where}: {error}") from None

    def _require_known_fields(self) -> None:
        """Raise one error for all settings that no plugin has, where there are several; a single one is found later."""
        told = unknown_fields(self.grid.blocks, self.installed)
        if len(told) > 1:
            raise PlanError(f"{self.grid.source or self.grid.name}: {'; '.join(told)}")

    def _trials(self, block: Block, where: str) -> Iterator[Trial]:
        methods = self._drafted("method", block.methods, where)
        datasets = self._drafted("dataset", block.datasets, where)
        models = self._drafted("model", block.models, where)
        for number, rule in enumerate(block.exclusions, 1):
            drafts = [[draft for draft, _ in axis] for axis in (datasets, models, methods)]
            why = idle_reason(rule, drafts[0], drafts[1], drafts[2], block.seeds)
            self.warnings += [f"{where}, exclude {number}: leaves nothing out: {why}"] if why else []
        for dataset, dataset_choice in datasets:
            for model, model_choice in models:
                for seed in block.seeds:
                    cells = list(self._cells(block, dataset, model, methods, seed))
                    if cells:
                        self._require_one_objective(dataset, model, where)
                    for method in [self._dense(), *cells] if cells else []:
                        for protocol in self.protocols:
                            yield Trial(dataset_choice, model_choice, method, seed, protocol)

    def _require_one_objective(self, dataset: Draft, model: Draft, where: str) -> None:
        """Raise where a model says that it is for other objectives than the data set's: no cell of the two can run."""
        named = self.installed.find("dataset", dataset.use).cls.objective
        wanted = self.installed.find("model", model.use).cls.objectives
        if wanted and named not in wanted:
            words = " or ".join(wanted)
            why = f"the model {model.use} is for {words}, the data set {dataset.use} for {named}"
            with self._place(where):
                raise PlanError(f"{why}: give them blocks of their own, or exclude the pair with its reason")

    def _cells(
        self, block: Block, dataset: Draft, model: Draft, methods: list[tuple[Draft, Choice]], seed: int
    ) -> Iterator[Choice]:
        for method, choice in methods:
            for rule in block.exclusions:
                if rule.covers(dataset, model, method, seed):
                    self.declined.append(Declined(dataset.use, model.use, choice.label, seed, rule.why))
                    break
            else:
                yield choice

    def _dense(self) -> Choice:
        plugin = self.installed.find("method", DENSE.use)
        return Choice(DENSE.use, code=plugin.code)

    def _drafted(self, kind: str, entries: tuple[Entry, ...], where: str) -> list[tuple[Draft, Choice]]:
        found = []
        for number, entry in enumerate(entries, 1):
            with self._place(f"{where}, {kind} {number}" if len(entries) > 1 else f"{where}, {kind}"):
                found += [(draft, self._choice(kind, draft)) for draft in entry.drafts()]
        return found

    def _choice(self, kind: str, draft: Draft) -> Choice:
        """The complete, checked choice; one object for equal drafts, since a grid of a million cells shares them."""
        choice = self._checked(kind, draft)
        return self.choices.setdefault(f"{kind} {choice.text}", choice)

    def _checked(self, kind: str, draft: Draft) -> Choice:
        if draft.stages:
            return Choice("pipeline", stages=tuple(self._choice(kind, stage) for stage in draft.stages))
        plugin = self.installed.find(kind, draft.use, self.registry.advice(kind, draft.use))
        given = {name: value for name, value in draft.params.items() if not _is_target(plugin, name)}
        target = {name: _target(plugin, name, draft.params[name]) for name in draft.params if name not in given}
        freed = _freed(plugin, given, target)
        params = complete(plugin.cls, given, freed)
        made = None if target else create(plugin.cls, params)
        if freed:
            require_solvable(plugin.cls, params, freed, next(iter(target)))
        code = plugin.code
        if isinstance(made, Dataset | Model | Metric):
            code = _joined(code, made.named_code())
        if isinstance(made, Dataset):
            code = self._with_objective(code, made)
        return Choice(draft.use, params, target, code=code, shown=_shown(plugin, params))

    def _with_objective(self, code: str, dataset: Dataset) -> str:
        """The data set's code, and that of its objective where another file brings that one: both decide the result."""
        advice = self.registry.advice("objective", dataset.objective) + f" (the data set {dataset.name} names it)"
        return _joined(code, self.installed.find("objective", dataset.objective, advice).code)


def _usual(installed: Installed, metric: str) -> dict[str, Value] | None:
    """All fields of the metric at their defaults; None where one has to be given."""
    cls = installed.find("metric", metric).cls
    return complete(cls, {}) if len(defaults(cls)) == len(dataclasses.fields(cls)) else None


def _joined(code: str, other: str) -> str:
    """The hash of both, of one where the other is empty or the same."""
    if other in ("", code):
        return code
    return short_hash(f"{code} {other}")


def _shown(plugin: Plugin, params: dict[str, Value]) -> tuple[str, ...]:
    """What a label shows: the first field (that has to be given, if any), the knob, whatever is not at its default."""
    usual = defaults(plugin.cls)
    first = next((name for name in params if name not in usual), next(iter(params), ""))
    always = {first, getattr(plugin.cls, "knob", "")}
    return tuple(name for name, value in params.items() if name in always or value != usual.get(name))


def _target(plugin: Plugin, name: str, value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 1:
        raise PlanError(f"{plugin.name}: {name} must be a number of at least 1, got {value!r}")
    return float(value)


def _freed(plugin: Plugin, given: dict[str, Value], target: dict[str, float]) -> str:
    """The field that a target is solved for, empty without a target."""
    if not target:
        return ""
    name = next(iter(target))
    if len(target) > 1:
        raise PlanError(f"{plugin.name}: give one of {', '.join(target)}, not both")
    if not plugin.cls.knob or plugin.cls.counts is Method.counts:
        raise PlanError(f"{plugin.name} has no closed form of what it leaves, so {name} cannot be solved for it")
    if plugin.cls.knob in given:
        raise PlanError(f"{plugin.name}: {name} is solved for {plugin.cls.knob}; give one of them, not both")
    return str(plugin.cls.knob)


def instance(installed: Installed, kind: str, choice: Choice) -> Any:
    """The plugin object of a complete choice, in the process that runs it."""
    plugin = installed.find(kind, choice.use)
    return create(plugin.cls, choice.params)


def measuring(installed: Installed, protocol: Protocol) -> list[Metric]:
    """The metrics that the protocol names, with its settings or at their defaults."""
    found: list[Metric] = []
    for one in protocol.metrics:
        if isinstance(one, Choice):
            require_planned_code(installed, "metric", one)
        cls = installed.find("metric", one if isinstance(one, str) else one.use).cls
        found.append(create(cls, complete(cls, {}) if isinstance(one, str) else one.params))
    return found


def require_planned_code(installed: Installed, kind: str, choice: Choice) -> None:
    """Raise `PluginError` where the code that the choice's fields name is no longer what was planned with."""
    plugin = installed.find(kind, choice.use)
    named = create(plugin.cls, choice.params).named_code()
    if named and choice.code != _joined(plugin.code, named):
        raise PluginError(
            f"{kind} {choice.label}: its code or its files are not those that the trial was planned with: plan again"
        )


def unknown_fields(blocks: tuple[Block, ...], installed: Installed) -> list[str]:
    """A text for each entry with settings that are not fields of its plugin; it names all of them."""
    told: dict[str, None] = {}
    for number, block in enumerate(blocks, 1):
        for kind, entries in (("dataset", block.datasets), ("model", block.models), ("method", block.methods)):
            for entry in (stage for given in entries for stage in (given.stages or (given,))):
                if fault := _unknown_fields(kind, entry, installed):
                    told[f"block {number}, {kind}: {fault}"] = None
    return list(told)


def _unknown_fields(kind: str, entry: Entry, installed: Installed) -> str:
    """What is wrong with the names of the settings; a missing plugin is reported elsewhere."""
    try:
        plugin = installed.find(kind, entry.use)
        names = [name for name in entry.axes if not _is_target(plugin, name)]
    except (PlanError, PluginError):
        return ""
    try:
        require_known(plugin.cls, names, [item.name for item in dataclasses.fields(plugin.cls)])
    except PlanError as error:
        return str(error)
    return ""


def _is_target(plugin: Plugin, name: str) -> bool:
    return plugin.kind == "method" and name in TARGETS and name not in field_types(plugin.cls)
