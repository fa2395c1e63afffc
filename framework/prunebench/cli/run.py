"""`bench run`."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import db_option, grid_options, json_option, plugin_options
from prunebench.grid.protocols import seconds


@click.command("run")
@grid_options
@db_option
@click.option(
    "--devices",
    default="auto",
    show_default=True,
    help="Devices to use: auto, cpu, cpu:2 (slots), cuda, cuda:0,cuda:1.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Worker processes on this machine, or a Ray cluster (needs prunebench[cluster]).",
)
@click.option("--address", help="Address of the Ray cluster; `auto` finds one that runs on this machine.")
@click.option(
    "--gpu-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="GPUs per Ray worker; 0.5 puts two workers on one GPU.",
)
@click.option("--timeout", help="Time limit per trial: 90s, 30m, 2h.")
@click.option(
    "--isolate", is_flag=True, help="Run each third-party distribution in a worker of its own (a few seconds each)."
)
@click.option("--report/--no-report", default=True, help="Write the report at the end.")
@click.option("--trial", metavar="ID", help="With --in-process: the trial to run, by its id or the beginning of it.")
@click.option(
    "--in-process", is_flag=True, help="Run one trial here: prints, breakpoints and full tracebacks; nothing is stored."
)
@click.option("--pdb", "debug", is_flag=True, help="With --in-process: open pdb where an exception was raised.")
@click.option("--keep", is_flag=True, help="With --in-process: store the result.")
@plugin_options
@json_option
def command(
    grid: str,
    db: Path,
    as_json: bool,
    timeout: str | None,
    plugin_files: tuple[Path, ...],
    **options: Any,
) -> int:
    """Run a grid: train each dense network once, prune, measure, store every trial, write the report.

    Trials that the database has already are skipped. Ctrl-C finishes the running trials, a second Ctrl-C stops at once;
    either way the same command continues from there.
    """
    here = {name: options.pop(name) for name in ("trial", "in_process", "debug", "keep")}
    if any(here.values()):
        return _one_here(grid, db, as_json, here, plugin_files=plugin_files, **options)
    from prunebench.engine.session import Outcome, Prepared, run

    limit = seconds(timeout, "--timeout") if timeout else None
    screen = contextlib.ExitStack()
    shown: dict[str, Any] = {}

    def on_plan(prepared: Prepared) -> None:
        _announce(prepared, as_json)
        if prepared.todo and not as_json:
            from prunebench.cli.live import LiveView

            done = len(prepared.plan.trials) - len(prepared.todo)
            shown["view"] = screen.enter_context(LiveView(len(prepared.todo), done))

    def on_event(event: Any) -> None:
        if "view" in shown:
            shown["view"].on_event(event)

    with screen:
        outcome: Outcome = run(
            grid,
            db=db,
            timeout_seconds=limit,
            plugin_files=plugin_files,
            on_plan=on_plan,
            on_event=on_event,
            **options,
        )
    _close(outcome, as_json)
    return 130 if outcome.interrupted else 0 if outcome.is_clean else 1


def _one_here(grid: str, db: Path, as_json: bool, here: dict[str, Any], **options: Any) -> int:
    if not (here["in_process"] and here["trial"]):
        raise click.UsageError("--trial, --pdb and --keep are for --in-process, which needs --trial ID")
    from prunebench.engine.in_process import run_in_process

    names = ("scale", "limit", "plugin_files", "disabled", "data_dir")
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():  # JSON alone on that one
        result = run_in_process(
            grid, here["trial"], db=db, keep=here["keep"], debug=here["debug"], **{n: options[n] for n in names}
        )
    facts = _told(result)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(", ".join(f"{name} {value}" for name, value in facts.items() if value not in (None, "")))
        click.echo(f"stored in {db}" if here["keep"] else "not stored (--keep)")
    return 0 if result.status in ("ok", "skipped") else 1


def _told(result: Any) -> dict[str, Any]:
    facts = {"trial_id": result.trial.id, "method": result.trial.method.label, "status": result.status}
    facts |= {"reason": result.reason, "seconds": round(result.seconds, 3)}
    measured = result.measurement
    if measured is not None:
        names = ("score", "parameter_count", "nonzero_parameter_count", "mac_count", "prune_seconds")
        facts |= {name: getattr(measured, name) for name in names} | {"notes": list(measured.notes) or None}
    return facts


def _announce(prepared: Any, as_json: bool) -> None:
    plan = prepared.plan
    for warning in (*plan.warnings, *prepared.installed.warnings, *prepared.remarks):
        click.echo(f"bench: {warning}", err=True)
    for fault in prepared.installed.broken:
        click.echo(f"bench: plugin {fault.name} ({fault.distribution}) is left out: {fault.reason}", err=True)
    if as_json:
        return
    scale = f" at {plan.grid.scale} scale" if plan.grid.scale else ""
    done = len(plan.trials) - len(prepared.todo)
    click.echo(f"{plan.grid.name}{scale}: {len(plan.trials):,} trials, {done:,} done, {len(prepared.todo):,} to run")


def _closing_table(outcome: Any) -> None:
    """Polars makes it; a machine that only runs trials need not have it, and what ran is stored all the same."""
    if importlib.util.find_spec("polars") is None:
        click.echo("no closing table: it needs polars (pip install polars)")
        return
    from prunebench.cli.summary import summary_table
    from prunebench.store import open_results

    with open_results(outcome.database) as results:
        summary_table(results, outcome.run_id)


def _close(outcome: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary(outcome)))
        return
    if outcome.run_id:
        _closing_table(outcome)
        ended = ", ".join(f"{count:,} {status}" for status, count in sorted(outcome.statuses.items()))
        click.echo(f"{ended or 'nothing finished'} in {outcome.seconds:.0f} s; results in {outcome.database}")
        if outcome.report:
            click.echo(f"report: {outcome.report}")
        if outcome.logs:
            click.echo(f"output of plugins and libraries: {outcome.logs}, one file per slot")
    else:
        click.echo(f"everything is done; results in {outcome.database}: bench report, bench query")
    for note in outcome.notes:
        click.echo(f"bench: {note}", err=True)
    if outcome.interrupted:
        click.echo("interrupted: run the same command again to continue")


def summary(outcome: Any) -> dict[str, Any]:
    """The outcome for programs."""
    return {
        "grid": outcome.grid,
        "run_id": outcome.run_id or None,
        "database": str(outcome.database),
        "planned": outcome.planned_count,
        "done_before": outcome.done_count,
        "statuses": outcome.statuses,
        "seconds": round(outcome.seconds, 3),
        "interrupted": outcome.interrupted,
        "report": str(outcome.report) if outcome.report else None,
    }
