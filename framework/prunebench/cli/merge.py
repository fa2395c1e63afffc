"""`bench merge`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option


@click.command("merge")
@click.argument("other", required=False, type=click.Path(path_type=Path))
@db_option
@json_option
def command(other: Path | None, db: Path, as_json: bool) -> int:
    """Import the results of the database OTHER; without OTHER, merge the journals.

    A result that is here already (same trial, run and attempt) is not imported twice. The other file stays as it
    is; a copy of it is kept beside the journals, so that `bench db rebuild` finds it again.
    """
    from prunebench.store import Store
    from prunebench.store.taking import import_results

    store = Store(db)
    imported = import_results(store, other) if other else None
    report = imported.report if imported else store.merge(wait_seconds=10)
    if as_json:
        files = list(imported.files) if imported else []
        facts = {"results": report.result_count, "files": files, "postponed": report.postponed or None}
        click.echo(json.dumps(facts | {"notes": report.notes, "damages": [str(damage) for damage in report.damages]}))
    else:
        click.echo(report.postponed or f"{report.result_count} new results in {db}")
        for line in (*report.notes, *map(str, report.damages)):
            click.echo(f"bench: {line}", err=True)
    return 1 if report.postponed or report.lost else 0
