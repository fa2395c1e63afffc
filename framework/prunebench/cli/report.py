"""`bench report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import click

from prunebench.cli.options import db_option, plugin_options


@dataclass(frozen=True)
class _Asked:
    """The words of one call."""

    run: str | None
    everything: bool
    query: str | None
    paper: str | None
    output: Path | None
    watch: bool
    every: float
    plugin_files: tuple[Path, ...]
    disabled: tuple[str, ...]
    db: Path


@click.command("report")
@click.argument("run", required=False)
@click.option("--all", "everything", is_flag=True, help="Report every trial in the database.")
@click.option("--query", metavar="SQL", help="Report the trials of a select that returns `trial_id`.")
@click.option("--paper", metavar="NAME", help="Report a paper's latest run beside its published numbers.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; default: in the run's folder.",
)
@click.option("--watch", is_flag=True, help="Rewrite the page while the run goes on; an open page refreshes itself.")
@click.option(
    "--every", type=click.FloatRange(1), default=5.0, show_default=True, help="Seconds between rewrites, with --watch."
)
@plugin_options
@db_option
def command(**words: Any) -> int:
    """Write the results of a RUN (its id or its grid's name; by default the latest) as one page that works offline."""
    asked = _Asked(**words)
    if sum((asked.run is not None, asked.everything, asked.query is not None, asked.paper is not None)) > 1:
        raise click.UsageError("give one of RUN, --all, --query and --paper")
    if asked.output and asked.output.suffix.lower() not in ("", ".html", ".htm"):
        raise click.UsageError(f"{asked.output}: a report is HTML; name a file that ends in .html")
    from prunebench.plugins.discovery import find_installed
    from prunebench.report import write_report

    run_id = None if asked.everything or asked.query is not None else _run_id(asked.db, asked.run or asked.paper)
    if asked.query is not None:
        check_query(asked.db, asked.query)
    installed = find_installed(asked.plugin_files, asked.disabled)
    output = asked.output or (asked.db.parent / run_id / "report.html" if run_id else asked.db.parent / "report.html")
    if asked.watch and run_id:
        _follow(asked.db, run_id, output, asked.every, paper=asked.paper, installed=installed)
    click.echo(write_report(asked.db, run_id, output, asked.query, asked.paper, installed=installed))
    return 0


def _run_id(db: Path, wanted: str | None) -> str:
    from prunebench.report.runs import find_run
    from prunebench.store import open_results

    with open_results(db) as results:
        return find_run(results, wanted)


def check_query(db: Path, query: str) -> None:
    """Raise QueryError unless `query` alone is a harmless select with a column `trial_id`: it is run sealed, once."""
    from prunebench.errors import QueryError
    from prunebench.store.sealed_client import sealed_query

    columns = sealed_query(db, query, row_limit=1).columns
    if "trial_id" not in columns:
        raise QueryError(f"--query must return a column trial_id; it returns {', '.join(columns)}")


def _follow(db: Path, run_id: str, output: Path, every: float, **options: Any) -> None:
    """Write the page until every planned trial has its row; Ctrl-C ends it with a page that stands still."""
    from prunebench.report import write_report
    from prunebench.report.progress import progress
    from prunebench.store import open_results

    click.echo(f"{output}: written every {every:g} s until the run ends; Ctrl-C stops")
    try:
        with open_results(db) as results:
            while not (now := progress(results, run_id)).is_over:
                write_report(db, run_id, output, refresh_seconds=max(1, round(every)), **options)
                click.echo(f"{now.done:,} of {now.planned:,} trials")
                sleep(every)
    except KeyboardInterrupt:
        click.echo("stopped watching")
