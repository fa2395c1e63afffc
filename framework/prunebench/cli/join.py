"""`bench join`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prunebench.cli.options import db_option, json_option

if TYPE_CHECKING:
    from prunebench.store.joining import Offered


@click.command("join")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--check", "only_check", is_flag=True, help="Check SOURCE and list what it holds, without importing it; for CI."
)
@db_option
@json_option
def command(source: Path, only_check: bool, db: Path, as_json: bool) -> int:
    """Import published results with their origin: a folder that `bench publish` wrote, or a results database.

    Hashes, and the references between tables, are verified first. If anything is wrong, one line says what, and nothing
    is imported. Results that you have already are not imported twice. A trial whose result differs from yours is kept
    beside yours, and listed. Speeds are compared within one machine only.
    """
    from prunebench.store import Store
    from prunebench.store.joining import check, join

    report = None
    if only_check:
        offered = check(source, db)
    else:
        joined = join(Store(db), source)
        offered, report = joined.offered, joined.report
    if as_json:
        taken = None if report is None else report.result_count
        click.echo(json.dumps(dataclasses.asdict(offered) | {"taken": taken}))
    else:
        _print(offered, only_check)
    if report is not None and report.postponed:
        click.echo(f"bench: {report.postponed}", err=True)
        return 1
    return 0


def _print(offered: Offered, only_check: bool) -> None:
    from prunebench.cli.tables import clean

    by = f" by {offered.publisher}" if offered.publisher else ""
    done = "sound; new here" if only_check else "taken"
    click.echo(
        clean(f"{offered.source}{by}: {offered.run_count} runs, {offered.trial_count:,} trials; ")
        + f"{done}: {offered.new_count:,} results"
    )
    if offered.differing:
        some = ", ".join(offered.differing[:3]) + (" …" if len(offered.differing) > 3 else "")
        click.echo(
            f"bench: {len(offered.differing)} trials have a different result here; both are kept "
            f"(the view attempts has both, trials the latest): {some}",
            err=True,
        )
