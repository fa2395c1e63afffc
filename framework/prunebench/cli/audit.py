"""`bench audit`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option


@click.command("audit")
@click.argument("run")
@click.option("--strict", is_flag=True, help="Exit 1 unless every point that applies is satisfied.")
@db_option
@json_option
def command(run: str, strict: bool, db: Path, as_json: bool) -> int:
    """Check a run against the checklist of a sound pruning evaluation (Blalock et al., 2020, and later papers).

    Point by point: what the results satisfy, what is missing, and the grid lines that would supply it. RUN is a run's
    id, the beginning of one, or a grid's name (its latest run).
    """
    from prunebench.cli.tables import clean
    from prunebench.report.advice import planned_audit
    from prunebench.store.lookup import run_of

    points = planned_audit(db, run_of(db, run))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(point) for point in points]))
    else:
        for point in points:
            click.echo(f"{point.number:2}  {point.status:14}  {point.title}")
            click.echo(f"{'':20}{clean(point.found)}")
            for line in point.mend.splitlines():
                click.echo(f"{'':20}+ {clean(line)}")
        applying = [point for point in points if point.status != "does not apply"]
        satisfied = sum(point.status == "satisfied" for point in applying)
        click.echo(f"\n{satisfied} of {len(applying)} points satisfied")
    return 1 if strict and any(point.status in ("partly", "missing") for point in points) else 0
