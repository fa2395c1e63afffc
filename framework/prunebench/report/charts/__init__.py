"""Every chart is one query, `NAME.sql`, and one function of the same stem, `draw` in `NAME.py`.

A query is written over all trials (`with scope as (select trial_id from trials)`), runs as it stands in `bench query`,
and is narrowed to a run by replacing that line. Beyond a few thousand rows it groups neighbours and says how many
settings a row stands for in `point_count`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any

from prunebench.errors import PruneBenchError, did_you_mean
from prunebench.report.frame import Columns

if TYPE_CHECKING:
    from prunebench.report.charts.marks import Look

NAMES = (
    "accuracy_compression",
    "accuracy_theoretical_speedup",
    "accuracy_speedup",
    "promised_speedup",
    "accuracy_stored_bytes",
    "prune_time",
    "latency",
    "layer_kept",
    "layer_error",
    "curves",
    "requested",
)

ALIASES = {"pareto": "accuracy_compression"}


@dataclass(frozen=True)
class Chart:
    """A chart before it has data."""

    name: str
    title: str
    about: str  # what it shows, for people who look and for people who listen
    empty: str  # what to say where there is nothing to draw
    columns: Columns
    sql: str
    draw: Callable[[Any, Look], Any]  # (Altair data, look) -> Altair chart of one panel
    is_wide: bool = False
    brush: tuple[str, str] | None = None  # the headline columns behind x and y, where a rectangle selects settings


def load(name: str, package: str = __name__) -> Chart:
    """The chart called `name`."""
    name = ALIASES.get(name, name)
    if package == __name__ and name not in NAMES:
        raise PruneBenchError(f"no chart {name!r}{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}")
    module = import_module(f"{package}.{name}")
    sql = resources.files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return Chart(name, module.TITLE, module.ABOUT, module.EMPTY, module.COLUMNS, sql, module.draw,
                 getattr(module, "IS_WIDE", False), getattr(module, "BRUSH", None))  # fmt: skip


def load_all() -> Iterator[Chart]:
    """Every bundled chart, in the order of a page."""
    return map(load, NAMES)
