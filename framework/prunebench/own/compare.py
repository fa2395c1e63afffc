"""`prunebench.compare`: methods on a network that somebody has in hand, in this process, stored like any run."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.engine.executors import Finished
from prunebench.engine.executors.here import HereExecutor
from prunebench.engine.in_process import workbench
from prunebench.engine.options import DEFAULT_DB, taking
from prunebench.engine.session import Outcome, Prepared, against, check_writable, execute
from prunebench.errors import PlanError, PruneBenchError
from prunebench.grid.grid import Grid
from prunebench.grid.lines import value as toml
from prunebench.grid.plan import TARGETS, plan
from prunebench.plugins.contracts import Dataset, Model
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.registry import load_registry
from prunebench.records import NAME, Trial, short_hash
from prunebench.report.results import Results
from prunebench.store import Store

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from prunebench.splits import Splits

COLUMNS = (
    *("trial_id", "method_label", "runtime", "seed", "status", "score", "score_loss", "top1_accuracy", "accuracy_drop"),
    *("loss", "compression_ratio", "theoretical_speedup", "stored_bytes", "speedup", "batch", "reason"),
)  # of the view `trials`, as far as it has them, and what ran the networks


class Comparison(Results):
    """What came of `compare`: `frame` for eyes, `query` and `chart` for the rest, of the trials asked for here."""

    def __init__(self, path: Path, trials: Sequence[Trial], outcome: Outcome, installed: Installed) -> None:
        super().__init__(path)
        self.trials, self.outcome, self.installed = tuple(trials), outcome, installed

    @property
    def frame(self) -> pl.DataFrame:
        """A row per trial, in the order asked, without columns that say nothing here; all others are in `query`."""
        rows = self.query(
            "select trials.*, runtimes.runtime from trials left join runtimes using (trial_id, batch) "
            f"where trial_id in (select trial_id from ({self._mine}))"
        )
        order = {trial.id: place for place, trial in enumerate(self.trials)}
        places = [order[trial_id] for trial_id in rows["trial_id"]]
        told = [name for name in COLUMNS if name in rows.columns and rows[name].null_count() < len(rows)]
        if rows["runtime"].n_unique() == 1:
            told = [name for name in told if name != "runtime"]
        return rows.select(told)[sorted(range(len(places)), key=places.__getitem__)]

    def chart(self, name: Any = "accuracy_compression", **options: Any) -> Any:
        """As `Results.chart` draws it, of the trials asked for here unless `run`, `query` or `sql` says otherwise."""
        if not {"run", "query", "sql"} & options.keys():
            options["query"] = self._mine
        return super().chart(name, **options)

    def save(self, trial: str, path: str | Path, device: str = "cpu") -> dict[str, Any]:
        """Write the trial's pruned network to `path` as `bench save` does; returns its card."""
        from prunebench.export.rebuild import row_of, save_trial

        return save_trial(
            row_of(self.path, trial), workbench(self.path, device=device, installed=self.installed), Path(path)
        )

    def repro(self, trial: str, device: str = "cpu") -> list[str]:
        """Run the trial again, untimed, as `bench repro` does; what came out otherwise, in words."""
        from prunebench.export.rebuild import repeated, row_of

        bench = workbench(self.path, device=device, installed=self.installed)
        return repeated(row_of(self.path, trial), bench)[1]

    @property
    def _mine(self) -> str:
        return f"select unnest([{', '.join(repr(trial.id) for trial in self.trials)}]) as trial_id"

    def __repr__(self) -> str:
        return repr(self.frame)

    def _repr_html_(self) -> str:
        return self.frame._repr_html_()


@dataclass(frozen=True)
class _Subject:
    """The network and the data as plugins that are installed in this process alone."""

    installed: Installed
    model: str
    dataset: str


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """How networks are compared, beside which: the options of `compare` by their names."""

    seeds: Sequence[int] = (0,)
    protocol: Mapping[str, Any] | None = None  # a grid's table
    db: str | Path = DEFAULT_DB
    name: str = "own"  # what the network is called in the database
    device: str = "cpu"
    retry: tuple[str, ...] = ()  # statuses that are run again
    quiet: bool = False


@taking(CompareOptions)
def compare(
    network: nn.Module,
    data: Any,
    methods: Sequence[str | Mapping[str, Any]],
    *,
    targets: Mapping[str, float | Sequence[float]] | None = None,
    test: Any = None,
    loss: Any = None,
    **options: Any,
) -> Comparison:
    """Prune a copy of a trained `network` by each method, measure it beside the network, store and return the results.

    `data` are (inputs, targets) as tensors, a DataLoader, a torch data set, or `Splits`; `test` is what to score on,
    by default 15 % of `data`, kept apart. A method is a name, run at each of `targets` (`{"compression": [2, 4]}`), or
    a table as in a grid (`{"use": "low_rank", "rank": [4, 8]}`), taken as it is. `loss(outputs, targets)` is a
    mean over the batch; without one, int64 targets are classes and floats numbers. `protocol` is a grid's table. What
    the database has of this network, these data and these settings is not run again.

    Raises `PruneBenchError` in one line for what cannot be compared; a trial that fails is a row.
    """
    asked = CompareOptions(**options)
    started, db = time.monotonic(), Path(asked.db)
    subject = _subject(network, data, test, loss, asked.name)
    text = grid_text(subject.model, subject.dataset, methods, targets, asked.seeds, asked.protocol)
    grid = Grid.parse(text, name=asked.name)
    store = Store(db)
    prepared = against(store, plan(grid, subject.installed, load_registry()), subject.installed, asked.retry)
    trials = prepared.plan.trials
    done = len(trials) - len(prepared.todo)
    outcome = Outcome(grid.name, db, len(trials), done)
    if prepared.todo:
        check_writable(db.parent)
        execute(prepared, _here(prepared, db, asked.device), outcome, _teller(len(prepared.todo), asked.quiet))
    else:
        store.merge(wait_seconds=10)
    outcome.seconds = time.monotonic() - started
    if not asked.quiet:
        _say(f"{len(prepared.todo)} trials run, {done} were done, in {outcome.seconds:.1f} s; results in {db}")
    if outcome.interrupted:
        raise KeyboardInterrupt("interrupted: finished trials are stored; the same call continues from here")
    return Comparison(db, trials, outcome, subject.installed)


def _here(prepared: Prepared, db: Path, device: str) -> HereExecutor:
    from prunebench.trial.runner import TrialRunner

    return HereExecutor(TrialRunner(workbench(db, device=device, installed=prepared.installed)).run_trial, device)


def _teller(count: int, quiet: bool) -> Any:
    """Progress on stderr: a line per trial."""
    seen: list[str] = []

    def tell(event: Any) -> None:
        if isinstance(event, Finished) and not quiet:
            result = event.result
            seen.append(result.trial.id)
            why = f": {result.reason}" if result.reason else ""
            _say(f"{len(seen)}/{count} {result.trial.method.label} {result.status} in {result.seconds:.1f} s{why}")

    return tell


def _say(text: str) -> None:
    print(f"prunebench: {text}", file=sys.stderr, flush=True)


def grid_text(
    model: str,
    dataset: str,
    methods: Sequence[str | Mapping[str, Any]],
    targets: Mapping[str, float | Sequence[float]] | None,
    seeds: Sequence[int],
    protocol: Mapping[str, Any] | None,
) -> str:
    """The comparison as a grid file, which is stored with the run; raises `PlanError` for what no grid can say."""
    if isinstance(methods, str | Mapping):
        methods = [methods]
    entries = [entry for method in methods for entry in _entries(method, targets or {})]
    if not entries:
        raise PlanError("methods is empty: name at least one, as methods=['low_rank']")
    table = {"train": {"epochs": 0}, **(protocol or {})}
    lines = ["[protocol]", *(f"{key} = {toml(value)}" for key, value in table.items()), "", "[[block]]"]
    lines += [f"dataset = {toml(dataset)}", f"model = {toml(model)}", f"seed = {toml(list(seeds))}", "method = ["]
    return "\n".join([*lines, *(f"    {toml(entry)}," for entry in entries), "]", ""])


def _entries(method: str | Mapping[str, Any], targets: Mapping[str, Any]) -> list[Any]:
    if isinstance(method, Mapping):
        return [dict(method)]
    unknown = [key for key in targets if key not in TARGETS]
    if unknown:
        raise PlanError(f"no target {unknown[0]!r}; known: {', '.join(TARGETS)}")
    return [{"use": method, key: value} for key, value in targets.items()] or [method]


def _subject(network: Any, data: Any, test: Any, loss: Any, name: str) -> _Subject:
    """Network, data and loss as plugins, each with the hash of what it is."""
    from prunebench.own.data import samples_of, splits_of
    from prunebench.own.loss import objective_for
    from prunebench.own.network import network_code, own_copy
    from prunebench.splits import Splits

    installed = find_installed()
    if not NAME.fullmatch(name) or ("model", name) in installed.by_name:
        taken = "is an installed model's" if NAME.fullmatch(name) else f"is not allowed: use {NAME.pattern}"
        raise PruneBenchError(f"name {name!r} {taken}; name= is what the network is called in the database")
    own = own_copy(network)
    given = data.train.head(64) if isinstance(data, Splits) else samples_of(data, "data")
    test = test if test is None or isinstance(data, Splits) else samples_of(test, "test")
    objective = "own_loss" if loss is not None else objective_for(*given)
    splits = splits_of(data if isinstance(data, Splits) else given, test, own, objective)
    if loss is not None:
        installed = _with_loss(installed, loss, own, splits)
    dataset = f"{name}_data"
    installed = installed.named("model", name, own_model(name, own), network_code(own))
    code = short_hash(f"{splits.fingerprint} {splits.class_count} {splits.outputs}")
    return _Subject(installed.named("dataset", dataset, own_dataset(dataset, splits, objective), code), name, dataset)


def _with_loss(installed: Installed, loss: Any, network: nn.Module, splits: Splits) -> Installed:
    import torch

    from prunebench import samples
    from prunebench.measure.scores import evaluating
    from prunebench.own.loss import loss_code, own_loss, require_finite

    made = own_loss(loss)
    inputs, wanted = splits.train.head(8)
    with evaluating(network), torch.no_grad():
        require_finite(loss, samples.call(network, inputs), wanted)
    return installed.named("objective", made.name, made, short_hash(loss_code(loss)))


def own_model(name: str, network: nn.Module) -> type[Model]:
    """The model whose networks are copies of this one, weights included."""
    import copy

    class Own(Model):
        input_shape = None
        pretrained = True

        def build(self, outputs: int) -> nn.Module:
            return copy.deepcopy(network)

    return _called(Own, name)


def own_dataset(name: str, splits: Splits, objective: str) -> type[Dataset]:
    """The data set that holds these splits."""

    class OwnData(Dataset):
        def load(self, input_shape: tuple[int, ...] | None, folder: Path) -> Splits:
            return splits

    OwnData.objective, OwnData.class_count = objective, splits.class_count
    return _called(OwnData, name)


def _called(cls: type[Any], name: str) -> type[Any]:
    """The class under a grid's name; it is of no module, so that its code is the hash of what it holds."""
    cls.name, cls.__module__ = name, "here"
    return cls
