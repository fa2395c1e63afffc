"""`bench runs`."""

from __future__ import annotations

from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option

SQL = """
    select
        run_id as run, run_name as name, scale, strftime(started_at, '%Y-%m-%d %H:%M') as started,
        trial_count as trials, ok_count as ok, skipped_count as skipped, failed_count as failed,
        round(seconds, 1) as seconds
    from runs
    order by started_at, run_id
"""


@click.command("runs")
@db_option
@json_option
def command(db: Path, as_json: bool) -> int:
    """List the runs in the database, the latest last, with the number of trials and how they ended."""
    from prunebench.cli.tables import json_text, print_table
    from prunebench.store.answers import own_query

    answer = own_query(db, SQL)
    if as_json:
        click.echo(json_text(answer.columns, answer.rows))
    else:
        print_table(answer.columns, answer.rows, spare=("name", "scale", "seconds", "started", "skipped"))
    return 0
