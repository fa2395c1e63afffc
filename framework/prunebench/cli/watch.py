"""`bench watch`."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.cli.options import db_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from prunebench.report.progress import Progress
    from prunebench.report.scope import Queryable


@click.command("watch")
@click.argument("run", required=False)
@click.option("--every", type=click.FloatRange(0.5), default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Look once.")
@db_option
def command(run: str | None, every: float, once: bool, db: Path) -> int:
    """Follow a RUN (by default the latest) from another terminal until it ends; Ctrl-C harms nothing."""
    from rich.console import Console
    from rich.live import Live

    from prunebench.report.progress import progress
    from prunebench.report.runs import find_run
    from prunebench.store import open_results

    console = Console(highlight=False)
    with open_results(db) as results:
        now = progress(results, find_run(results, run))
        if once or not console.is_terminal:
            return _plain(console, results, now, every, once)
        with Live(shown(now), console=console, auto_refresh=False) as live:
            while not now.is_over:
                time.sleep(every)
                now = progress(results, now.run_id)
                live.update(shown(now), refresh=True)
    return 0


def _plain(console: Any, results: Queryable, now: Progress, every: float, once: bool) -> int:
    """Without a terminal: one line whenever something has finished."""
    from prunebench.report.progress import progress

    told = None
    while True:
        if now.done != told:
            console.print(headline(now), soft_wrap=True)
            told = now.done
        if once or now.is_over:
            return 0
        time.sleep(every)
        now = progress(results, now.run_id)


def shown(now: Progress) -> RenderableType:
    """Bar, endings, last results."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar

    return Group(headline(now), ProgressBar(total=max(now.planned, 1), completed=now.done, width=50), last_table(now))


def headline(now: Progress) -> Any:
    """`run: 12 of 40 trials, 11 ok, 1 declined, about 1:20 of work left`."""
    from rich.text import Text

    from prunebench.cli.live import STYLES, WORDS, clock
    from prunebench.report.text import printable

    parts = [Text(f"{n:,} {WORDS.get(s, s)}", style=STYLES.get(s, "")) for s, n in now.endings.items()]
    left = seconds_left(now)
    if left is not None:
        parts.append(Text(f"about {clock(left)} left", style="dim"))
    return Text(", ").join([Text(f"{printable(now.run_id)}: {now.done:,} of {now.planned:,} trials"), *parts])


def seconds_left(now: Progress) -> float | None:
    """From the rate since the run began; None before the first trial and after the last."""
    if not now.done or now.is_over or now.started_at is None:
        return None
    utc = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    elapsed: float = (utc - now.started_at).total_seconds()
    return max(0.0, elapsed) / now.done * (now.planned - now.done)


def last_table(now: Progress) -> RenderableType:
    """The last rows, the latest first."""
    from rich.table import Table
    from rich.text import Text

    from prunebench.cli.closing import number
    from prunebench.cli.live import STYLES, WORDS
    from prunebench.report.text import printable

    table = Table.grid(padding=(0, 2))
    for row in now.last:
        name = (
            " · ".join(str(row[k]) for k in ("dataset_label", "model_label", "method_label")) + f" · seed {row['seed']}"
        )
        told = printable(row["reason"] or f"top-1 {number(row['top1_accuracy'], '{:.2f}', 100)} %", 120)
        status = Text(WORDS.get(row["status"], row["status"]), style=STYLES.get(row["status"], ""))
        table.add_row(status, Text(printable(name, 160)), Text(told, style="dim"))
    return table
