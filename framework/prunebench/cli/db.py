"""`bench db`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option


@click.group("db")
def command() -> None:
    """Check or rebuild the results database."""


@command.command("check")
@db_option
@json_option
def check(db: Path, as_json: bool) -> int:
    """Check the database and its journals for damage.

    Every block and every line is read; exit code 1 if anything is wrong.
    """
    from prunebench.errors import StoreError
    from prunebench.store import Store

    store = Store(db)
    if not db.exists() and not store.journals():
        raise StoreError(f"{db}: no results yet: run `bench run --grid …` first, or name another file with --db")
    faults = store.check()
    if as_json:
        click.echo(json.dumps({"database": str(db), "faults": faults}))
    else:
        click.echo("\n".join(faults) if faults else f"{db}: no faults found")
    return 1 if faults else 0


@command.command("rebuild")
@db_option
@json_option
def rebuild(db: Path, as_json: bool) -> int:
    """Rebuild the database from the journals. The old file is kept under another name."""
    from prunebench.store import Store

    report = Store(db).rebuild()
    if as_json:
        damages = [str(damage) for damage in report.damages]
        click.echo(json.dumps({"results": report.result_count, "notes": report.notes, "damages": damages}))
        return 1 if report.lost else 0
    click.echo(f"{report.result_count} results in {db}, {report.seconds:.1f} s")
    for line in (*report.notes, *map(str, report.damages)):
        click.echo(f"bench: {line}", err=True)
    return 1 if report.lost else 0


@command.command("schema")
def schema() -> int:
    """Print docs/schema.md: every view and column with its unit."""
    from prunebench.store.schema import schema_markdown

    click.echo(schema_markdown(), nl=False)
    return 0
