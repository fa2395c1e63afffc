"""One trial of a grid in this very process, for its author: prints, breakpoints and full tracebacks are seen here."""

from __future__ import annotations

import pdb
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.engine.grids import data_folder
from prunebench.engine.session import Prepared, prepare, run_record
from prunebench.errors import PlanError
from prunebench.records import Result, Trial

if TYPE_CHECKING:
    from prunebench.plugins.discovery import Installed
    from prunebench.trial.workbench import Workbench


def run_in_process(
    grid: str | Path,
    trial: str,
    *,
    db: Path,
    keep: bool = False,
    debug: bool = False,
    plugin_files: tuple[Path, ...] = (),
    disabled: tuple[str, ...] = (),
    data_dir: Path | None = None,
    **planning: Any,
) -> Result:
    """How the trial whose id begins with `trial` ended; stored only where `keep` says so.

    A traceback is printed as it happens, and `debug` opens pdb where it was raised. The dense network is read from its
    checkpoint beside `db`, or trained and kept there, as a run would. Raises `PlanError` where no trial, or several,
    begin so.
    """
    from prunebench.trial.runner import run_trial

    prepared = prepare(grid, db=db, plugin_files=plugin_files, disabled=disabled, data_dir=data_dir, **planning)
    chosen = _chosen(prepared, trial)
    bench = workbench(
        db,
        plugin_files=plugin_files,
        disabled=(*disabled, *(fault.entry for fault in prepared.installed.broken)),
        data_dir=data_dir,
        threads=chosen.protocol.threads,
    )
    result = run_trial(chosen, bench, on_error=_teller(debug))
    if keep:
        _store(prepared, result)
    return result


def workbench(
    db: Path,
    *,
    device: str = "cpu",
    plugin_files: tuple[Path, ...] = (),
    disabled: tuple[str, ...] = (),
    data_dir: Path | None = None,
    threads: int | None = None,
    installed: Installed | None = None,
) -> Workbench:
    """A workbench of this process over the checkpoints beside `db`, as a run into it would have."""
    from prunebench.trial.workbench import Workbench

    return Workbench(
        device=device,
        data_dir=data_folder(data_dir).absolute(),
        checkpoints=(db.parent / "checkpoints").absolute(),
        plugin_files=tuple(str(Path(path).absolute()) for path in plugin_files),
        disabled_plugins=disabled,
        threads=threads,
        installed=installed,
    )


def _chosen(prepared: Prepared, text: str) -> Trial:
    found = [trial for trial in prepared.plan.trials if text and trial.id.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise PlanError(
            f"{text!r} begins {len(found)} trials of {prepared.plan.grid.name}: write more of the one meant"
        )
    raise PlanError(f"no trial of {prepared.plan.grid.name} begins with {text!r}: `bench plan --all` lists them")


def _teller(debug: bool) -> Callable[[BaseException], None]:
    def tell(error: BaseException) -> None:
        traceback.print_exception(error)
        if debug:
            pdb.post_mortem(error.__traceback__)

    return tell


def _store(prepared: Prepared, result: Result) -> None:
    record = replace(run_record(prepared), trial_count=1, trial_ids=(result.trial.id,))
    with prepared.store.open_run(record) as journal:
        journal.append(result)
    prepared.store.merge(wait_seconds=10)
