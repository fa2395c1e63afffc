"""`bench publish`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option


@click.command("publish")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--output", "-o", "folder", required=True, type=click.Path(path_type=Path), help="The new folder.")
@click.option(
    "--publisher", default="", metavar="NAME", help="Name of the publisher, shown and stored with the results."
)
@click.option("--licence", default="CC-BY-4.0", show_default=True, metavar="NAME", help="Licence of the numbers.")
@click.option("--title", default="", metavar="TEXT", help="Title of the site.")
@db_option
@json_option
def command(
    runs: tuple[str, ...], folder: Path, publisher: str, licence: str, title: str, db: Path, as_json: bool
) -> int:
    """Write RUNs (by default all) as a folder for others: Parquet, a data card, and a site that works offline.

    index.html opens from the folder and on any static host; `bench join FOLDER` takes the results into another
    database. The folder includes host names, commands and grids of the runs.
    """
    from prunebench.publishing.publish import publish
    from prunebench.store.lookup import run_of

    manifest = publish(db, [run_of(db, run) for run in runs], folder, publisher, licence, title)
    if as_json:
        click.echo(json.dumps(manifest))
        return 0
    size = sum(file["bytes"] for file in manifest["files"])
    click.echo(f"{folder}: {manifest['trials']:,} trials, {len(manifest['files'])} files, {size / 1e6:.1f} MB")
    click.echo(f"open {folder / 'index.html'}; bench join --check {folder}")
    return 0
