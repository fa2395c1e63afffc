"""`bench export`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--view", "views", multiple=True, metavar="NAME", help="Only this view; may be given again.")
@click.option("--run", default="", metavar="RUN", help="Only the trials that this run's grid asked for.")
@db_option
@json_option
def command(folder: Path, views: tuple[str, ...], run: str, db: Path, as_json: bool) -> int:
    """Write the documented views as Parquet files into the new FOLDER, with a manifest of rows, hashes and units."""
    from prunebench.store.export import export
    from prunebench.store.lookup import run_of

    manifest = export(db, folder, views, run_of(db, run) if run else "")
    if as_json:
        click.echo(json.dumps(manifest))
    else:
        for file in manifest["files"]:
            click.echo(f"{folder / file['file']}: {file['rows']:,} rows")
    return 0
