"""One call of `bench run` or `prunebench.run`: grid -> plan -> minus what is done -> executor -> journal -> report."""

from __future__ import annotations

import datetime
import os
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunebench.engine.activity import ActivityFile, Tally, activity_path
from prunebench.engine.executors import Executor, Finished, RetryPolicy, WorkSettings, make_executor
from prunebench.engine.executors.logs import foreign_bytes
from prunebench.engine.grids import data_folder, load_grid
from prunebench.engine.options import DEFAULT_DB, RunOptions, taking
from prunebench.errors import PruneBenchError, StoreError, encodable
from prunebench.grid.grid import TRIAL_LIMIT, Grid
from prunebench.grid.plan import Plan, plan
from prunebench.plugins.code import Codes, changed, is_edited_in_place, plugins_of
from prunebench.plugins.discovery import Installed, find_installed
from prunebench.plugins.registry import load_registry
from prunebench.records import Run, Trial
from prunebench.store import Store

MERGE_SECONDS = 1.5  # between merges, at least
MERGE_SHARE = 20  # and this many times what the last merge took


@dataclass(frozen=True)
class Prepared:
    """A planned grid beside what the database has of it."""

    plan: Plan
    installed: Installed
    store: Store
    finished: dict[str, str]  # trial id -> status
    todo: tuple[Trial, ...]
    outdated: Mapping[str, Sequence[str]] = field(default_factory=dict)  # trial id -> plugins whose other code made it

    @property
    def remarks(self) -> list[str]:
        """A line for every plugin whose results were made by other code than today's."""
        again = {trial.id for trial in self.todo}
        counts = Counter((key, trial_id in again) for trial_id, keys in self.outdated.items() for key in keys)
        return [_remark(key, count, runs_again) for (key, runs_again), count in sorted(counts.items())]


def _remark(key: str, count: int, runs_again: bool) -> str:
    kind, _, name = key.partition(":")
    were = "trial was" if count == 1 else "trials were"
    made = f"{count} {were} made by other code of the {kind} {name} than today's"
    if runs_again:
        return f"{made}: rerun now; old results stay as history"
    return f"{made}: `--retry code` runs such trials again"


@dataclass
class Outcome:
    """What a run came to."""

    grid: str
    database: Path
    planned_count: int
    done_count: int  # found done at the start
    run_id: str = ""  # empty when nothing was left to run
    statuses: dict[str, int] = field(default_factory=dict)  # of the trials run now
    seconds: float = 0.0
    interrupted: bool = False
    notes: tuple[str, ...] = ()  # what the last merge had to say: a database set aside, a damaged journal line
    lost: bool = False  # whether a merge found results gone, as in a damaged file that was their only place
    report: Path | None = None
    logs: Path | None = None  # where what plugins printed is, if they printed anything

    @property
    def is_clean(self) -> bool:
        """Whether every trial run now ended ok or was declined with a reason."""
        return not self.interrupted and not self.lost and set(self.statuses) <= {"ok", "skipped"}


def prepare(
    grid: str | Path | Grid,
    *,
    db: str | Path = DEFAULT_DB,
    scale: str | None = None,
    limit: int = TRIAL_LIMIT,
    retry: tuple[str, ...] = (),
    plugin_files: tuple[Path, ...] = (),
    disabled: tuple[str, ...] = (),
    data_dir: Path | None = None,
) -> Prepared:
    """Everything that can go wrong before a trial starts goes wrong here; nothing is written."""
    installed = find_installed(plugin_files, disabled)
    loaded = load_grid(grid, installed, scale, data_folder(data_dir))
    return against(Store(Path(db)), plan(loaded, installed, load_registry(), limit), installed, retry)


def against(store: Store, planned: Plan, installed: Installed, retry: tuple[str, ...] = ()) -> Prepared:
    """The plan beside what `store` has of it; statuses in `retry` are run again."""
    codes = Codes(installed)
    today = {trial.id: codes.of_trial(trial) for trial in planned.trials}
    endings = store.endings(today, lambda trial_id, code: not changed(today[trial_id], code))
    outdated = {key: changed(today[key], ending.code) for key, ending in endings.items() if not ending.is_current}
    again = {"failed", "timeout", "killed", "oom", "skipped"} if "all" in retry else set(retry)

    def is_due(trial: Trial) -> bool:
        ending = endings.get(trial.id)
        if ending is None or ending.status in again:
            return True
        of_edited = any(is_edited_in_place(today[trial.id][key]) for key in outdated.get(trial.id, ()))
        return of_edited or ("code" in again and trial.id in outdated)

    todo = tuple(trial for trial in planned.trials if is_due(trial))
    finished = {key: ending.status for key, ending in endings.items()}
    return Prepared(planned, installed, store, finished, todo, outdated)


@taking(RunOptions)
def run(grid: str | Path | Grid, **options: Any) -> Outcome:
    """Run the trials of `grid` that the database does not have; returns when every trial is a row, or after Ctrl-C.

    `grid` is a file, a `Grid`, or the name of a bundled grid or a paper. Raises `PruneBenchError` in one line for what
    cannot be planned or stored; a trial that fails is a row.
    """
    asked = RunOptions(**options)
    started = time.monotonic()
    db = Path(asked.db)
    unread = set(Store(db).unread())
    prepared = prepare(grid, **asked.planning)
    lost_before = bool(set(prepared.store.unread()) - unread)  # a look at what is done sets a damaged file aside, too
    asked.on_plan(prepared)
    trials = prepared.plan.trials
    outcome = Outcome(prepared.plan.grid.name, db, len(trials), len(trials) - len(prepared.todo))
    if not prepared.todo:
        notes, lost = _published(prepared.store)
        return replace(outcome, notes=notes, lost=lost or lost_before, seconds=time.monotonic() - started)
    workers = _workers(prepared, asked)
    if asked.isolate or prepared.plan.grid.options.isolate:
        prepared = _isolated(prepared, workers)
    check_writable(db.parent)
    logs = db.parent / "logs"
    printed = foreign_bytes(logs)
    execute(prepared, workers, outcome, asked.on_event)
    outcome.lost = outcome.lost or lost_before
    outcome.logs = logs if foreign_bytes(logs) != printed else None
    if asked.report:
        _add_report(prepared, db, outcome)
    outcome.seconds = time.monotonic() - started
    return outcome


def _workers(prepared: Prepared, asked: RunOptions) -> Any:
    """The executor, with what its workers need to know."""
    grid, folder = prepared.plan.grid, Path(asked.db).parent
    settings = WorkSettings(
        data_dir=str(data_folder(asked.data_dir).absolute()),
        checkpoints=str((folder / "checkpoints").absolute()),
        plugin_files=tuple(str(Path(path).absolute()) for path in asked.plugin_files),
        disabled_plugins=(*asked.disabled, *(fault.entry for fault in prepared.installed.broken)),  # waited for once
        timeout_seconds=asked.timeout_seconds or grid.options.timeout_seconds,
        log_dir=str((folder / "logs").absolute()),
        threads_per_slot=grid.protocol.threads,
    )
    policy = RetryPolicy(**(grid.options.retries or {}))
    return make_executor(
        asked.executor, asked.devices, settings, policy, address=asked.address, gpu_fraction=asked.gpu_share
    )


def _isolated(prepared: Prepared, workers: Any) -> Prepared:
    """The same work in an order that changes workers seldom; each worker serves the trials of one origin."""
    origins = {trial.id: origin(trial, prepared.installed) for trial in prepared.todo}
    workers.isolate(lambda trial: origins[trial.id])
    return replace(prepared, todo=by_origin(prepared.todo, origins))


def _add_report(prepared: Prepared, db: Path, outcome: Outcome) -> None:
    """The page of the run; where it cannot be written, a note says why."""
    try:
        outcome.report = _report(prepared, db, outcome.run_id)
    except (PruneBenchError, ModuleNotFoundError) as error:  # a full disk, or no polars: the results are kept
        outcome.notes = (*outcome.notes, f"no report: {error}")


def _published(store: Store) -> tuple[tuple[str, ...], bool]:
    """Bring in what an earlier run could only journal, as on a full disk: what there is to say, and whether it lost."""
    try:
        merged = store.merge(wait_seconds=10)
    except StoreError as error:  # as in a folder that may only be read: nothing is lost by it
        return (str(error),), False
    notes = (*merged.notes, *(str(damage) for damage in merged.damages), *filter(None, [merged.postponed]))
    return notes, bool(merged.lost)


def origin(trial: Trial, installed: Installed) -> str:
    """The distributions and plugin files, other than prunebench's own, whose code the trial runs."""
    own = installed.find("method", "dense").distribution
    found = {installed.find(kind, name).distribution for kind, name in plugins_of(trial)}
    return ", ".join(sorted(found - {own}))


def by_origin(trials: tuple[Trial, ...], origins: dict[str, str]) -> tuple[Trial, ...]:
    """The trials with those of one network and one origin side by side, dense networks first."""
    place: dict[str, int] = {}
    for trial in trials:
        place.setdefault(trial.network_id, len(place))
    return tuple(sorted(trials, key=lambda t: (place[t.network_id], t.method.use != "dense", origins[t.id])))


def check_writable(folder: Path) -> None:
    """Raise `StoreError` where results could not be kept, before anything is trained."""
    probe = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}; choose another with --db") from None


def execute(prepared: Prepared, workers: Executor, outcome: Outcome, on_event: Callable[[Any], None]) -> None:
    """Run what is to do, journal every result as it comes, merge, and note in `outcome` what it came to."""
    record = run_record(prepared)
    outcome.run_id = record.id
    journal = prepared.store.open_run(record)
    statuses: Counter[str] = Counter()
    merges = _Merges(prepared.store)
    try:
        with ExitStack() as stack:
            tally = Tally(len(prepared.todo), len(prepared.plan.trials) - len(prepared.todo))
            activity = stack.enter_context(ActivityFile(activity_path(outcome.database, record.id), record.id, tally))
            stopping = stack.enter_context(_signals(workers))
            events = workers.run(prepared.todo)
            stack.callback(getattr(events, "close", lambda: None))  # workers end with the loop, however it ends
            for event in events:
                if isinstance(event, Finished):
                    journal.append(event.result)  # now it is acknowledged
                    statuses[event.result.status] += 1
                    merges.tick()
                activity.take(event)
                on_event(event)
    finally:
        outcome.statuses = dict(statuses)
        workers.stop(now=True)
        journal.close()
    merged = prepared.store.merge(wait_seconds=10)
    outcome.lost = merges.lost or bool(merged.lost)
    notes = dict.fromkeys([*merges.notes, *merged.notes])
    outcome.notes = (*notes, *(str(damage) for damage in merged.damages), *filter(None, [merged.postponed]))
    outcome.interrupted = stopping.is_set() and sum(statuses.values()) < len(prepared.todo)


@dataclass
class _Merges:
    """Brings the journal into the database every second or two, never for more than a twentieth of the time."""

    store: Store
    last: float = field(default_factory=time.monotonic)
    pause: float = MERGE_SECONDS
    notes: list[str] = field(default_factory=list)
    lost: bool = False

    def tick(self) -> None:
        """Merge if it is time."""
        started = time.monotonic()
        if started - self.last < self.pause:
            return
        merged = self.store.merge()
        self.notes += merged.notes
        self.lost = self.lost or bool(merged.lost)
        self.last = time.monotonic()
        self.pause = max(MERGE_SECONDS, MERGE_SHARE * (self.last - started))


def run_record(prepared: Prepared) -> Run:
    """A new run of this plan, begun now."""
    grid = prepared.plan.grid
    now = datetime.datetime.now(datetime.UTC)
    trial_ids = tuple(trial.id for trial in prepared.plan.trials)
    methods = prepared.installed.of_kind("method")
    controls = sorted(name for name, plugin in methods.items() if plugin.cls.control is True)
    return Run(
        id=f"{grid.name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        name=grid.name,
        started_at=now.isoformat(timespec="milliseconds"),
        grid=grid.text,
        scale=grid.scale,
        command=encodable(" ".join([Path(sys.argv[0]).name.replace("__main__.py", "bench"), *sys.argv[1:]])),
        trial_count=len(trial_ids),
        trial_ids=trial_ids,
        options={"controls": controls},
        claims=tuple({"text": claim.text, "sql": claim.sql, "why": claim.why} for claim in grid.claims),
    )


@contextmanager
def _signals(workers: Executor) -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM, SIGHUP) finishes what is running, the second stops at once."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def stop(signum: int, frame: Any) -> None:
        if not stopping.is_set():  # by a call that may be made amid anything, also amid drawing
            os.write(2, b"bench: finishing the trials that run; a second Ctrl-C (or SIGTERM) stops at once\n")
        workers.stop(now=stopping.is_set())
        stopping.set()

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)) if n]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # not those of nohup
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(prepared: Prepared, db: Path, run_id: str) -> Path | None:
    """The run's page; that of the paper where the grid is a paper's own, at one of its scales."""
    from prunebench.report import write_report

    grid, page = prepared.plan.grid, db.parent / run_id / "report.html"
    paper = grid.name if grid.scale and grid.name in prepared.installed.of_kind("paper") else None
    return write_report(db, run_id, page, paper=paper, installed=prepared.installed)
