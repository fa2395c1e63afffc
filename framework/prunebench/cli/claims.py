"""`bench claims`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option

MARKS = {"held": "held", "not held": "NOT HELD", "cannot tell": "cannot tell", "error": "ERROR"}


@click.command("claims")
@click.argument("run")
@click.option("--strict", is_flag=True, help="Exit 1 unless every claim held.")
@db_option
@json_option
def command(run: str, strict: bool, db: Path, as_json: bool) -> int:
    """Check a run's claims against its results: held, not held, or cannot tell, with the numbers behind each.

    RUN is a run's id, the beginning of one, or a grid's name (its latest run). A claim whose SQL is wrong
    gets an error line, and the exit code is 1. Rows of a paper's grid whose protocol has changed since are counted
    below.
    """
    from prunebench.report.outdated_rows import judged
    from prunebench.store.lookup import run_of
    from prunebench.store.plain import plain

    verdicts = judged(db, run_of(db, run))
    if as_json:
        click.echo(json.dumps([plain(dataclasses.asdict(verdict)) for verdict in verdicts]))
    elif not verdicts:
        click.echo("this run's grid makes no claims")
    else:
        _print(verdicts)
    wrong = {verdict.verdict for verdict in verdicts} - {"held"}
    return 1 if "error" in wrong or (strict and wrong) else 0


def _print(verdicts: list) -> None:  # type: ignore[type-arg]
    from prunebench.cli.tables import clean, text_of
    from prunebench.report.seeds import ONE_SEED

    for verdict in verdicts:
        single = f" {ONE_SEED}" if verdict.seed_count == 1 else ""
        click.echo(f"{MARKS[verdict.verdict]:12}{clean(verdict.text)}{single}")
        numbers = ", ".join(f"{name} = {text_of(value)}" for name, value in verdict.numbers.items())
        for line in (numbers, verdict.why, verdict.why_not, verdict.since):
            if line:
                click.echo(f"{'':12}{clean(line)}")
