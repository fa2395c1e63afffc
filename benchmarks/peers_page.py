"""What a page of results costs here and in benchopt: seconds of wall and of CPU, and how large it is.

    python benchmarks/peers_page.py [--folder DIR] [--results 200] [--rounds 5]

benchopt, from its environment under DIR (benchmarks/peers.py makes it), runs as many configurations that do nothing and
then draws its page, `benchopt plot --html`; `bench report` draws ours from as many synthetic trials with accuracies,
timings, layers and curves (benchmarks/report_speed.py). Only the drawing is timed, the interpreter's start included, in
turn after one call that warms caches; the figures are the least of the rounds. A page's size is that of its HTML;
"outside" counts the scripts and styles that it loads from elsewhere when it is opened.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers import BENCHOPT, cpu_seconds, environment, laid_out
from report_speed import store

LOADED = re.compile(rb"<(?:script|link)\b(?![^>]*preconnect)[^>]*?\b(?:src|href)\s*=\s*[\"']?https?://")


@dataclass(frozen=True)
class Tool:
    """How a page is drawn, where, and which files it then consists of."""

    name: str
    command: tuple[object, ...]
    folder: Path
    pages: str  # a pattern under the folder

    def spent(self) -> tuple[float, float]:
        """Seconds of wall and of CPU of drawing it once."""
        start = time.perf_counter()
        cpu = cpu_seconds(self.command, self.folder)
        return time.perf_counter() - start, cpu

    def row(self, rounds: list[tuple[float, float]]) -> str:
        """A line of the table."""
        files = list(self.folder.glob(self.pages))
        size = sum(path.stat().st_size for path in files) / 1e6
        outside = sum(len(LOADED.findall(path.read_bytes())) for path in files)
        wall, cpu = (min(column) for column in zip(*rounds, strict=True))
        return f"{self.name:12} {wall:>7.2f} {cpu:>7.2f} {size:>6.2f} {outside:>8}"


def benchopt(bins: Path, folder: Path, count: int) -> Tool:
    """`count` results, stored before the clock starts."""
    place = laid_out(BENCHOPT, folder, count)
    run = [bins / "benchopt", "run", ".", "--no-plot", "--no-html", "-r", "1", "--no-display"]
    cpu_seconds(run, place)
    plot = (bins / "benchopt", "plot", ".", "--html", "--no-display")
    return Tool("benchopt", plot, place, "outputs/*.html")


def prunebench(folder: Path, count: int) -> Tool:
    """`count` trials in a database."""
    folder.mkdir()
    path = store(folder, count)
    report = (sys.executable, "-m", "prunebench", "report", "--db", path, "-o", folder / "page.html")
    return Tool("prunebench", report, folder, "page.html")


def main() -> None:
    """Print a line per tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "prunebench-peers")
    parser.add_argument("--results", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="peers-page-") as text:
        bins = environment(options.folder, "benchopt")
        tools = [prunebench(Path(text) / "prunebench", options.results)]
        tools.append(benchopt(bins, Path(text) / "benchopt", options.results))
        spent: dict[str, list[tuple[float, float]]] = {tool.name: [] for tool in tools}
        for turn in range(options.rounds + 1):
            for tool in tools:
                found = tool.spent()
                if turn:  # the first one warms caches
                    spent[tool.name].append(found)
        print(f"{'':12} {'wall s':>7} {'CPU s':>7} {'MB':>6} {'outside':>8}  {options.results} results")
        for tool in tools:
            print(tool.row(spent[tool.name]))


if __name__ == "__main__":
    main()
