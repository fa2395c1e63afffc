"""The bundled charts: every one is one query, `NAME.sql`, and one class in `NAME.py` that draws its rows.

A query is written over all trials (`with scope as (select trial_id from trials)`), runs as it stands in `bench query`,
and is narrowed to a run by replacing that line. Beyond a few thousand rows it groups neighbours and says how many
settings a row stands for in `point_count`. Charts of one form share their query, a template with the name of the form.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from prunebench.plugins.chart import Chart

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

ASKED = ("runtimes", "retraining", "token_speeds")  # drawn where somebody asks for it
BESIDE = {"promised_speedup": ("runtimes", "token_speeds")}  # on pages of several runtimes, of language models
ALIASES = {"pareto": "accuracy_compression"}
POINTS = "points"  # any query as a chart: report/generic.py


def load(name: str) -> Chart:
    """The bundled chart called `name`, one of `NAMES`, `ASKED` or `ALIASES`."""
    name = ALIASES.get(name, name)
    module = import_module(f"{__name__}.{name}")
    chart: Chart = getattr(module, "".join(part.capitalize() for part in name.split("_")))()
    return chart


def load_all() -> Iterator[Chart]:
    """Every chart that any run has rows for, in the order of a page."""
    return map(load, NAMES)


def load_asked() -> Iterator[Chart]:
    """The bundled charts that few pages have rows for."""
    return map(load, ASKED)


def load_page() -> Iterator[Chart]:
    """What a page may show, in its order: every chart, and behind some of them the one that answers it."""
    for name in NAMES:
        yield load(name)
        yield from map(load, BESIDE.get(name, ()))
