"""`bench repro`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import db_option, json_option, plugin_options


@click.command("repro")
@click.argument("trial")
@click.option("--device", default="cpu", show_default=True, help="Where the trial is run.")
@db_option
@plugin_options
@json_option
def command(
    trial: str, device: str, db: Path, plugin_files: tuple[Path, ...], disabled: tuple[str, ...], as_json: bool
) -> int:
    """Make a trial again and say whether it came out the same. TRIAL is its id, or the beginning of it.

    Scores, counts and bytes are compared exactly, times are not taken; nothing is stored. Exit code 1 where it differs.
    """
    from prunebench.export.again import repeated, row_of

    row = row_of(db, trial)
    now, differs = repeated(row, workbench(db, device, plugin_files, disabled))
    if as_json:
        click.echo(json.dumps({"trial_id": row.trial.id, "same": not differs, "differs": differs, "now": now}))
    elif differs:
        click.echo(f"{row.trial.id}: not the same: {'; '.join(differs)}")
    else:
        told = ", ".join(f"{name} {value}" for name, value in now.items() if value is not None and name != "dense_hash")
        click.echo(f"{row.trial.id}: the same: {told}")
    return 1 if differs else 0


def workbench(db: Path, device: str, plugin_files: tuple[Path, ...], disabled: tuple[str, ...]) -> Any:
    """A workbench over the checkpoints beside `db`."""
    from prunebench.engine.session import data_folder
    from prunebench.trial.workbench import Workbench

    return Workbench(
        device=device,
        data_dir=data_folder(None).absolute(),
        checkpoints=(db.parent / "checkpoints").absolute(),
        plugin_files=tuple(str(path) for path in plugin_files),
        disabled_plugins=disabled,
    )
