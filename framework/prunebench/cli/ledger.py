"""`bench ledger`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import db_option, json_option, plugin_options

VERDICTS = ("reproduced", "not reproduced", "cannot tell")


@click.command("ledger")
@click.argument("paper", required=False)
@click.option("--run", default="", metavar="RUN", help="Only the trials that this run's grid asked for.")
@click.option("--strict", is_flag=True, help="Exit 1 if any cell is not reproduced.")
@plugin_options
@db_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    paper: str | None,
    run: str,
    strict: bool,
    plugin_files: tuple[Path, ...],
    disabled: tuple[str, ...],
    db: Path,
    as_json: bool,
) -> int:
    """Compare published numbers with ours under the same protocol: reproduced, not reproduced, or cannot tell.

    PAPER is a paper's name; without it all papers are shown. Our results under another protocol are listed apart, with
    the columns that differ. The tolerance comes from the spread over seeds.
    """
    from prunebench.plugins.discovery import find_installed

    installed = find_installed(plugin_files, disabled)
    is_given = context.get_parameter_source("db") is not click.core.ParameterSource.DEFAULT
    entries = entries_of(installed, db if is_given or db.exists() else None, paper, run)
    if as_json:
        click.echo(json.dumps([facts(entry) for entry in entries]))
    else:
        _print(entries)
    return 1 if strict and any(entry.verdict == "not reproduced" for entry in entries) else 0


def entries_of(installed: Any, db: Path | None, paper: str | None = None, run: str = "") -> list[Any]:
    """The ledger's entries, of one paper or of all; raises PluginError, DataError, StoreError."""
    from prunebench.judging.ledger import ledger, measured_trials
    from prunebench.plugins.parameters import defaults
    from prunebench.store.lookup import run_of

    names = [paper] if paper else sorted({name for kind, name in installed.by_name if kind == "paper"})
    rows = [row for name in names for row in installed.find("paper", name).cls().ledger()]
    trials = measured_trials(db, run_of(db, run) if run else "") if db else []
    usual = {name: defaults(plugin.cls) for name, plugin in installed.of_kind("method").items()}
    return ledger(rows, trials, usual)


def ledger_sql(db: Path) -> str:
    """A select over the ledger of all installed papers, verdicts included, as literal rows."""
    from prunebench.plugins.discovery import find_installed
    from prunebench.plugins.published import with_published

    rows = []
    for entry in entries_of(find_installed(), db):
        row, ours = dataclasses.asdict(entry.row), entry.ours
        mine = (ours.mean, ours.spread, ours.seed_count) if ours else (None, None, None)
        row |= dict(zip(("our_value", "our_spread", "seed_count"), mine, strict=True))
        row |= {"tolerance": entry.tolerance, "verdict": entry.verdict, "why": entry.why}
        rows.append({name: "" if value is None else _plain(value) for name, value in row.items()})
    return with_published("select * from ($published)", rows)


def _plain(value: Any) -> str:
    """A number without exponent, which SQL literals here do not have."""
    return f"{value:.12f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def facts(entry: Any) -> dict[str, Any]:
    """An entry as plain data."""
    table = dataclasses.asdict(entry)
    return {**table.pop("row"), **table}


def _print(entries: list[Any]) -> None:
    from prunebench.cli.tables import print_table

    columns = ["paper", "table", "model", "dataset", "method", "ratio", "metric", "published", "ours", "seeds", "±"]
    lines = [[*_cells(entry), entry.verdict, entry.why] for entry in entries]
    counts = ", ".join(f"{sum(e.verdict == v for e in entries)} {v}" for v in VERDICTS)
    print_table([*columns, "verdict", "why"], lines, note=f"{len(entries)} published numbers: {counts}")


def _cells(entry: Any) -> list[Any]:
    row, ours = entry.row, entry.ours
    mean, seeds = (ours.mean, ours.seed_count) if ours else (None, None)
    ratio = "" if row.ratio in ("", "-") else f"{row.ratio} {row.ratio_kind}"
    said = [row.source, row.table, row.model, row.dataset, row.method, ratio, row.metric, row.value]
    return [*said, mean, seeds, entry.tolerance]
