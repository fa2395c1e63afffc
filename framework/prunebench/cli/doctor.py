"""`bench doctor`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from prunebench.cli.options import db_option, json_option
from prunebench.interrupts import ending_at_once

SIGNS = {"ok": "ok      ", "warning": "warning ", "fault": "FAULT   "}


@click.command("doctor")
@db_option
@click.option(
    "--noise/--no-noise",
    default=True,
    help="Measure the smallest difference that timing resolves here (a few seconds).",
)
@json_option
def command(db: Path, noise: bool, as_json: bool) -> int:
    """Check this machine; every problem comes with a fix. Include its output in every issue report."""
    from prunebench.doctor import examine
    from prunebench.writing import printable

    checks = []
    with ending_at_once():  # an exception in the middle of torch's own code may abort the process
        for check in examine(db, noise=noise):
            checks.append(check)
            if not as_json:
                fix = f" -> {check.mend}" if check.mend else ""
                click.echo(printable(f"{SIGNS[check.state]}{check.name}: {check.seen}{fix}"))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks]))
    return 1 if any(check.state == "fault" for check in checks) else 0
