"""`bench watch`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prunebench.cli.options import db_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from prunebench.cli.watch_json import Watched

PLAIN_WIDTH = 400  # where there is no terminal whose width would fold the lines


@click.command("watch")
@click.argument("run", required=False)
@click.option("--every", type=click.FloatRange(0.5), default=2.0, show_default=True, help="Seconds between refreshes.")
@click.option("--once", is_flag=True, help="Print the current state once and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the current state once, as a JSON object.")
@db_option
def command(run: str | None, every: float, once: bool, as_json: bool, db: Path) -> int:
    """Follow a RUN (by default the latest) from another terminal until it ends; Ctrl-C leaves the run alone.

    Shows the progress, the time left, what every worker does, and the last results and failures. Exits with 1 if the
    run's process dies before the run ends.
    """
    from rich.console import Console

    from prunebench.cli.watch_json import json_object, watched
    from prunebench.report.runs import find_run
    from prunebench.store import open_results

    with open_results(db) as results:
        run_id = find_run(results, run)

        def look() -> Watched:
            return watched(results, db, run_id)

        if as_json:
            click.echo(json_object(look()))
            return 0
        console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
        if once:
            seen = look()
            console.print(shown(seen))
        elif console.is_terminal and not console.is_dumb_terminal:
            seen = _live(console, look, every)
        else:
            seen = _lines(console, look, every)
    return 1 if seen.is_running is False and not seen.ended else 0


def _live(console: Console, look: Callable[[], Watched], every: float) -> Watched:
    """On a terminal: one view, drawn anew at every look."""
    from rich.live import Live

    seen = look()
    with Live(shown(seen), console=console, auto_refresh=False) as live:
        while not seen.is_over:
            time.sleep(every)
            seen = look()
            live.update(shown(seen), refresh=True)
    return seen


def _lines(console: Console, look: Callable[[], Watched], every: float) -> Watched:
    """Without a terminal: where it stands, then a line for whatever has finished, then how it ended."""
    from rich.text import Text

    from prunebench.cli.live import bar_line, ending_line
    from prunebench.writing import printable

    seen = look()
    console.print(bar_line(seen.state))
    while not seen.is_over:
        told = seen.state.done
        time.sleep(every)
        seen = look()
        new = [end for end in seen.state.last if end.number > told]
        if missed := seen.state.done - told - len(new):
            console.print(f"[dim]… {missed} more")
        for end in new:
            console.print(Text(printable(ending_line(end, seen.state.total))), soft_wrap=True)
    console.print(bar_line(seen.state))
    if seen.remark:
        console.print(Text(printable(seen.remark)), soft_wrap=True)
    return seen


def shown(seen: Watched) -> RenderableType:
    """The run's name over the view of its own terminal, and what else there is to say."""
    from rich.console import Group
    from rich.text import Text

    from prunebench.cli.live import view
    from prunebench.writing import printable

    remark = [Text(printable(seen.remark), style="bold yellow")] if seen.remark else []
    return Group(Text(printable(seen.run_id), style="bold"), view(seen.state, is_ticking=True), *remark)
