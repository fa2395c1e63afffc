"""`bench compare`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prunebench.cli.options import db_option, json_option

if TYPE_CHECKING:
    from prunebench.judging.compare import Comparison, Difference


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option(
    "--tolerance", type=click.FloatRange(0), default=0.0, show_default=True, metavar="LOSS",
    help="Score loss to accept: a fraction for accuracies, a share for perplexities, else in the score's unit.",
)  # fmt: skip
@db_option
@json_option
def command(a: str, b: str, tolerance: float, db: Path, as_json: bool) -> int:
    """Compare B with A, paired, and exit 1 if B is worse in its score, compression, stored size or speedup.

    A and B are each a run (its id, the beginning of it, or a grid's name), version:0.1.0, environment:ID, host:NAME or
    method:NAME. Only a difference whose 95 % interval excludes zero counts.
    """
    from prunebench.judging.compare import compare

    made = compare(db, a, b, tolerance)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(made) | {"regression": made.has_regression}))
    else:
        _print(made)
    return 1 if made.has_regression else 0


def _named(difference: Difference) -> str:
    """The metric's name, with its direction where an objective's score is better the smaller it is."""
    direction = "" if difference.larger_is_better or not difference.title else ", smaller is better"
    unit = f", {difference.unit}" if difference.unit not in ("", "fraction") else ""
    return f"{difference.metric}{unit}{direction}"


def _print(made: Comparison) -> None:
    from prunebench.cli.tables import clean, print_table
    from prunebench.report.seeds import marked

    rows = [
        (
            *(_named(d), d.pair_count, d.seed_count, d.a, d.b),
            *("B / A" if d.is_ratio else "B - A", d.effect, d.low, d.high, d.verdict),
        )
        for d in made.differences
    ]
    columns = ("metric", "pairs", "seeds", "A", "B", "effect is", "effect", "low", "high", "B is")
    title = f"A = {made.a} ({made.a_count} results), B = {made.b} ({made.b_count}), {made.pair_count} pairs"
    print_table(columns, marked(columns, rows), title=title)
    for note in made.notes:
        click.echo(f"bench: {clean(note)}", err=True)
    click.echo("B is worse" if made.has_regression else "no regression found")
