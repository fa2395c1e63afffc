"""What a run is doing, on the screen: bar, time left, what every worker does, last results and failures.

Nothing runs between events (no refresh thread, no spinner), so that the view costs no processor time while a block is
timed; drawing is held to four times a second.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from prunebench.executors.events import Event, Finished, Note, Progress, Started, WorkerLost, WorkerStarted
from prunebench.report.text import printable

if TYPE_CHECKING:
    from prunebench.records import Result, Trial

SECONDS_BETWEEN_DRAWS = 0.25
STYLES = {"ok": "green", "skipped": "yellow", "failed": "red", "timeout": "red", "killed": "red", "oom": "red"}
WORDS = {"skipped": "declined"}


@dataclass(frozen=True)
class Activity:
    """What one worker is at."""

    device: str
    doing: str = "waiting"
    phase: str = ""
    fraction: float | None = None


class Tally:
    """The run as its events tell it: pure book-keeping, no screen."""

    def __init__(self, total: int, done_already: int) -> None:
        self.total, self.done_already = total, done_already  # trials to run now; trials that earlier runs have done
        self.started = time.monotonic()
        self.workers: dict[str, Activity] = {}
        self.finished: Counter[str] = Counter()
        self.seconds: deque[float] = deque(maxlen=60)
        self.last: deque[Result] = deque(maxlen=5)
        self.failures: deque[Result] = deque(maxlen=4)
        self.notes: deque[str] = deque(maxlen=3)

    @property
    def done(self) -> int:
        """Trials of this run that have an ending."""
        return sum(self.finished.values())

    def seconds_left(self) -> float | None:
        """Trials to come times the mean of the last trials' times, shared by the workers; None before the first."""
        if not self.seconds:
            return None
        return (self.total - self.done) * statistics.fmean(self.seconds) / max(1, len(self.workers))

    def take(self, event: Event) -> None:
        """Note what `event` changed."""
        match event:
            case WorkerStarted(slot, device):
                self.workers[slot] = Activity(device)
            case Started(trial, slot, attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                self.workers[slot] = Activity(self._device(slot), trial_label(trial) + again)
            case Progress(slot, _, phase, fraction) if slot in self.workers:
                self.workers[slot] = replace(self.workers[slot], phase=phase, fraction=fraction)
            case Finished(result, slot):
                self.workers[slot] = Activity(self._device(slot))
                self._finish(result)
            case WorkerLost(slot, reason):
                self.workers.pop(slot, None)
                self.notes.append(f"worker {slot} lost: {reason}")
            case Note(text):
                self.notes.append(text)

    def _device(self, slot: str) -> str:
        return self.workers[slot].device if slot in self.workers else slot

    def _finish(self, result: Result) -> None:
        self.finished[result.status] += 1
        self.last.append(result)
        if result.status == "ok":
            self.seconds.append(result.seconds)
        elif result.status != "skipped":
            self.failures.append(result)


class LiveView:
    """Shows the events of an executor; used as a context manager, fed by `on_event`."""

    def __init__(self, total: int, done_already: int = 0, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.tally = Tally(total, done_already)
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._drawn = 0.0
        self._pending: threading.Timer | None = None

    def __enter__(self) -> LiveView:
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
            self._draw()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            if self._pending:
                self._pending.cancel()
            if self._live:
                self._live.stop()
                self._live = None
                self.console.print(bar_line(self.tally))

    def on_event(self, event: Event) -> None:
        """Take one event of the executor and show what it changed."""
        with self._lock:
            self.tally.take(event)
        if self._live:
            self._draw_soon()
        elif not self.console.is_terminal or self.console.is_dumb_terminal:
            self._print_line(event)

    def _draw_soon(self) -> None:
        wait = self._drawn + SECONDS_BETWEEN_DRAWS - time.monotonic()
        if wait <= 0:
            self._draw()
        elif not (self._pending and self._pending.is_alive()):
            self._pending = threading.Timer(wait, self._draw)
            self._pending.daemon = True
            self._pending.start()

    def _draw(self) -> None:
        with self._lock:
            if self._live:
                self._live.update(view(self.tally), refresh=True)
                self._drawn = time.monotonic()

    def _print_line(self, event: Event) -> None:
        match event:
            case Finished(result):
                self._say(f"[{self.tally.done}/{self.tally.total}] {result_line(result)}")
            case WorkerLost(slot, reason):
                self._say(f"worker {slot} lost: {reason}")
            case Note(text):
                self._say(text)

    def _say(self, text: str) -> None:
        self.console.print(Text(printable(text)), soft_wrap=True)


def view(tally: Tally) -> RenderableType:
    """The whole live view."""
    parts: list[RenderableType] = [bar_line(tally), worker_table(tally), result_table(tally)]
    parts += [Text(f"! {printable(note)}", style="yellow") for note in tally.notes]
    return Group(*parts)


def bar_line(tally: Tally) -> Table:
    """Bar, count, endings, elapsed and left."""
    line = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(tally.total, 1), completed=tally.done, width=28)
    line.add_row(bar, Text(f"{tally.done}/{tally.total} trials", style="bold"), endings(tally), clock_text(tally))
    return line


def endings(tally: Tally) -> Text:
    """`120 ok, 4 declined, 1 failed`, each in its colour."""
    parts = [Text(f"{n} {WORDS.get(s, s)}", style=STYLES.get(s, "")) for s, n in tally.finished.items()]
    if tally.done_already:
        parts.insert(0, Text(f"{tally.done_already} done before", style="dim"))
    return Text(", ").join(parts)


def clock_text(tally: Tally) -> Text:
    """Elapsed time and, once a trial was timed, the time left."""
    text, left = f"{clock(time.monotonic() - tally.started)} elapsed", tally.seconds_left()
    if left is not None and tally.done < tally.total:
        text += f", about {clock(left)} left"
    return Text(text, style="dim")


def worker_table(tally: Tally) -> Table:
    """One line a worker: device, trial, phase, for how long."""
    table = Table.grid(padding=(0, 2))
    for slot, worker in sorted(tally.workers.items()):
        share = f" {worker.fraction:.0%}" if worker.fraction is not None else ""
        table.add_row(
            Text(printable(slot), style="cyan"),
            Text(printable(worker.doing)),
            Text(f"{printable(worker.phase)}{share}", style="dim"),
        )
    return table


def result_table(tally: Tally) -> Table:
    """The last results, and failures that have scrolled past them."""
    table = Table.grid(padding=(0, 2))
    for result in [failure for failure in tally.failures if failure not in tally.last] + list(tally.last):
        status = Text(WORDS.get(result.status, result.status), style=STYLES.get(result.status, ""))
        table.add_row(status, Text(trial_label(result.trial)), Text(outcome(result), style="dim"))
    return table


def trial_label(trial: Trial) -> str:
    """`digits · lenet5 · low_rank(rank=10) · seed 2`."""
    names = (trial.dataset.label, trial.model.label, trial.method.label, f"seed {trial.seed}")
    return printable(" · ".join(names), 160)


def result_line(result: Result) -> str:
    """One finished trial as a line of plain text."""
    return f"{WORDS.get(result.status, result.status):<8} {trial_label(result.trial)}  {outcome(result)}"


def outcome(result: Result) -> str:
    """What came out, or why nothing did."""
    took = clock(result.seconds)
    if result.measurement is None:
        return f"{printable(result.reason, 160)}  {took}"
    m = result.measurement
    timed = [f"{x.speedup:.2f}x [{x.speedup_low:.2f}, {x.speedup_high:.2f}] at batch {x.batch}" for x in m.latency[:1]]
    return "  ".join([f"top-1 {m.top1_accuracy:.2%}", f"{m.nonzero_parameter_count:,} weights", *timed, took])


def clock(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3:07`, `2:14:09`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
