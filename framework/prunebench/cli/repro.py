"""`bench repro`."""

from __future__ import annotations

import json
from pathlib import Path

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
    from prunebench.engine.in_process import workbench
    from prunebench.export.again import repeated, row_of

    row = row_of(db, trial)
    now, differs = repeated(row, workbench(db, device=device, plugin_files=plugin_files, disabled=disabled))
    if as_json:
        click.echo(json.dumps({"trial_id": row.trial.id, "same": not differs, "differs": differs, "now": now}))
    elif differs:
        click.echo(f"{row.trial.id}: not the same: {'; '.join(differs)}")
    else:
        told = ", ".join(f"{name} {value}" for name, value in now.items() if value is not None and name != "dense_hash")
        click.echo(f"{row.trial.id}: the same: {told}")
    return 1 if differs else 0
