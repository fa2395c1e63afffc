"""`bench plan`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import db_option, grid_options, json_option, plugin_options

SHOWN = 40


@click.command("plan")
@grid_options
@db_option
@plugin_options
@click.option("--all", "show_all", is_flag=True, help="List every trial.")
@json_option
def command(db: Path, as_json: bool, show_all: bool, **options: Any) -> int:
    """Show what a grid would run, without running it: the trials, how many are finished, and the time left.

    Cells that are declined are listed with their reasons. Names, parameters, types and bounds are checked as by `bench
    run`; nothing is run or written.
    """
    from prunebench.engine.session import prepare

    prepared = prepare(db=db, **options)
    facts = _facts(prepared)
    if as_json:
        click.echo(json.dumps(facts))
        return 0
    for warning in facts["warnings"]:
        click.echo(f"bench: {warning}", err=True)
    _print(prepared, facts, show_all)
    return 0


def _facts(prepared: Any) -> dict[str, Any]:
    trials = prepared.plan.trials
    todo = {trial.id for trial in prepared.todo}
    return {
        "grid": prepared.plan.grid.name,
        "scale": prepared.plan.grid.scale or None,
        "trials": len(trials),
        "to_run": len(todo),
        "statuses": dict(Counter(prepared.finished.values())),
        "networks": len({trial.network_id for trial in trials}),
        "estimated_seconds": _estimate(prepared),
        "warnings": [*prepared.plan.warnings, *prepared.remarks],
        "recipes": _recipes(prepared.plan.grid),
        "outdated": len(prepared.outdated),
        "declined": [vars(cell) for cell in prepared.plan.declined],
        "list": [
            {
                "trial_id": trial.id,
                "dataset": trial.dataset.label,
                "model": trial.model.label,
                "method": trial.method.label,
                "seed": trial.seed,
                "status": prepared.finished.get(trial.id, "to run") + " (other code)" * (trial.id in prepared.outdated),
            }
            for trial in trials
        ],
    }


def _recipes(grid: Any) -> list[dict[str, Any]]:
    """The recipes that the grid names, with all the keys that follow: what their names stand for may be overridden."""
    from prunebench.grid.recipes import shown

    return [{"part": part, "name": name, "keys": shown(getattr(grid.protocol, part))} for part, name in grid.recipes]


def _estimate(prepared: Any) -> float | None:
    """Seconds on one slot, from the mean of what the same method on the same model took; None without such rows."""
    if not prepared.todo or not prepared.store.path.exists():
        return 0.0 if not prepared.todo else None
    from prunebench.store import open_results

    with open_results(prepared.store.path) as results:
        frame = results.query("select dataset, model, method, avg(seconds) as mean_seconds from trials group by all")
    means = {(row[0], row[1], row[2]): row[3] for row in frame.iter_rows()}
    known = [means.get((t.dataset.use, t.model.use, t.method.use)) for t in prepared.todo]
    found = [value for value in known if value is not None]
    return sum(found) / len(found) * len(known) if found else None


def _print(prepared: Any, facts: dict[str, Any], show_all: bool) -> None:
    from prunebench.cli.tables import print_table

    rows = facts["list"] if show_all else facts["list"][:SHOWN]
    print_table(
        ["trial", "dataset", "model", "method", "seed", "status"],
        [[row["trial_id"], row["dataset"], row["model"], row["method"], row["seed"], row["status"]] for row in rows],
    )
    if len(rows) < facts["trials"]:
        click.echo(f"… and {facts['trials'] - len(rows):,} more (--all)")
    for recipe in facts["recipes"]:
        click.echo(f"{recipe['part']}, recipe {recipe['name']}: {recipe['keys']}")
    reasons = Counter(cell["why"] for cell in facts["declined"])
    for why, count in reasons.items():
        click.echo(f"left out by the grid: {count:,} × {why}")
    estimate = facts["estimated_seconds"]
    time = "" if estimate is None else f", about {estimate:,.0f} s on one slot, estimated from earlier trials"
    trials = "trial" if facts["trials"] == 1 else "trials"
    networks = "dense network" if facts["networks"] == 1 else "dense networks"
    click.echo(
        f"{facts['grid']}: {facts['trials']:,} {trials} of {facts['networks']:,} {networks}, "
        f"{facts['to_run']:,} to run{time}"
    )
