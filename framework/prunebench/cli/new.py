"""`bench new`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prunebench.cli.options import json_option
from prunebench.plugins.kinds import KINDS


@click.command("new")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path("."), help="Folder to create it in.")
@json_option
def command(kind: str, name: str, into: Path, as_json: bool) -> None:
    """Create a plugin package that installs and runs as it is: one file, entry point, tests, README, CI."""
    from prunebench.plugins.scaffold import grid_of, new_package

    written = new_package(kind, name, into)
    root = written[0]
    while root.parent != into:
        root = root.parent
    if as_json:
        click.echo(json.dumps([str(path) for path in written]))
        return
    for path in written:
        click.echo(f"wrote {path}")
    shown, grid = KINDS[kind].plugin_name(name), grid_of(KINDS[kind], name)
    click.echo(f"\ncd {root}\npip install -e '.[test]'\nbench check {shown}\npytest\nbench run --grid {grid}")
