"""What a run is doing, on the screen: bar, time left, what every worker does, last results and failures.

Nothing runs between events (no refresh thread, no spinner), so that the view costs no processor time while a block is
timed; drawing is held to four times a second.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from types import TracebackType

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from prunebench.cli import silence
from prunebench.engine.activity import Ending, Snapshot, Tally, Throttled, clock, ending
from prunebench.engine.executors.events import Event, Finished, Note, WorkerLost
from prunebench.writing import printable

STYLES = {"ok": "green", "skipped": "yellow", "failed": "red", "timeout": "red", "killed": "red", "oom": "red"}
WORDS = {"skipped": "declined"}


class Screen(Console):
    """A console whose reader may leave: that ends the lines, not the trials, as rich by itself would."""

    def on_broken_pipe(self) -> None:
        """Write to nobody from now on; say so once."""
        silence(sys.stdout)
        click.echo("bench: nobody reads the output any more; the run goes on", err=True)


class LiveView:
    """Shows the events of an executor; used as a context manager, fed by `on_event`."""

    def __init__(self, total: int, done_already: int = 0, console: Console | None = None) -> None:
        self.console = console or Screen(highlight=False)
        self.tally = Tally(total, done_already)
        self._told: dict[str, int] = {}  # why trials failed -> the first that did
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._draw_soon = Throttled(self._draw)

    def __enter__(self) -> LiveView:
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
            self._draw_soon()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._draw_soon.cancel()
        with self._lock:
            if self._live:
                self._live.stop()
                self._live = None
                self.console.print(bar_line(self.tally.snapshot()))

    def on_event(self, event: Event) -> None:
        """Take one event of the executor and show what it changed."""
        with self._lock:
            self.tally.take(event)
        if self._live:
            self._draw_soon()
        elif not self.console.is_terminal or self.console.is_dumb_terminal:
            self._print_line(event)

    def _draw(self) -> None:
        with self._lock:
            if self._live:
                self._live.update(view(self.tally.snapshot()), refresh=True)

    def _print_line(self, event: Event) -> None:
        match event:
            case Finished(result):
                end = ending(self.tally.done, result)
                if result.status == "failed" and result.reason in self._told:
                    end = replace(end, outcome=f"as trial {self._told[result.reason]}")
                elif result.status == "failed":
                    self._told[result.reason] = end.number
                self._say(ending_line(end, self.tally.total))
            case WorkerLost(slot, reason):
                self._say(f"worker {slot} lost: {reason}")
            case Note(text):
                self._say(text)

    def _say(self, text: str) -> None:
        self.console.print(Text(printable(text)), soft_wrap=True)


def view(state: Snapshot, is_ticking: bool = False) -> RenderableType:
    """The whole live view; `is_ticking` where it is drawn although nothing happened, so that seconds may be shown."""
    parts: list[RenderableType] = [bar_line(state), worker_table(state, is_ticking), result_table(state)]
    parts += [Text(f"! {printable(note)}", style="yellow") for note in state.notes]
    return Group(*parts)


def bar_line(state: Snapshot) -> Table:
    """Bar, count, endings, elapsed and left."""
    line = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(state.total, 1), completed=state.done, width=28)
    line.add_row(bar, Text(f"{state.done}/{state.total} trials", style="bold"), endings(state), clock_text(state))
    return line


def endings(state: Snapshot) -> Text:
    """`120 ok, 4 declined, 1 failed`, each in its colour."""
    parts = [status_text(status, f"{count} ") for status, count in state.endings.items()]
    if state.done_before:
        parts.insert(0, Text(f"{state.done_before} done before", style="dim"))
    return Text(", ").join(parts)


def status_text(status: str, before: str = "") -> Text:
    """How a trial ended, in its word and colour."""
    return Text(before + printable(WORDS.get(status, status)), style=STYLES.get(status, ""))


def clock_text(state: Snapshot) -> Text:
    """Elapsed time and, once a trial was timed, the time left."""
    text = f"{clock(state.at - state.started_at)} elapsed"
    if state.seconds_left is not None:
        text += f", about {clock(state.seconds_left)} left"
    return Text(text, style="dim")


def worker_table(state: Snapshot, is_ticking: bool) -> Table:
    """One line per worker: slot, trial, phase, and for how long where that is kept up to date."""
    table = Table.grid(padding=(0, 2))
    for device in state.devices:
        share = f" {device.fraction:.0%}" if device.fraction is not None else ""
        since = clock(state.at - device.since) if is_ticking and device.since is not None else ""
        table.add_row(
            Text(printable(device.slot), style="cyan"),
            Text(printable(device.trial or "waiting")),
            Text(f"{printable(device.phase)}{share}", style="dim"),
            Text(since, style="dim"),
        )
    return table


def result_table(state: Snapshot) -> Table:
    """The last results, and failures that have scrolled past them."""
    table = Table.grid(padding=(0, 2))
    for end in [failure for failure in state.failures if failure not in state.last] + list(state.last):
        table.add_row(status_text(end.status), Text(printable(end.trial)), Text(printable(end.outcome), style="dim"))
    return table


def ending_line(end: Ending, total: int) -> str:
    """One finished trial as a line of plain text."""
    return f"[{end.number}/{total}] {WORDS.get(end.status, end.status):<8} {end.trial}  {end.outcome}"
