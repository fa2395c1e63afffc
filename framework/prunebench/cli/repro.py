"""`bench repro`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option, plugin_options


@click.command("repro")
@click.argument("trial")
@click.option("--device", default="cpu", show_default=True, help="Device on which the trial runs.")
@db_option
@plugin_options
@json_option
def command(
    trial: str, device: str, db: Path, plugin_files: tuple[Path, ...], disabled: tuple[str, ...], as_json: bool
) -> int:
    """Run a stored trial again and compare the results. TRIAL is its id, or the beginning of it.

    Scores, counts and bytes are compared exactly; nothing is timed or stored. Exit code 1 if anything differs.
    """
    from prunebench.engine.in_process import workbench
    from prunebench.export.rebuild import repeated, row_of

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
