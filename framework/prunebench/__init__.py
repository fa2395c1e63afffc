"""prunebench: benchmark neural network pruning and compression, keep the results, see who is right.

The face of the framework: what plugins and scripts import. Everything else is private. Names are looked up when they
are first used, so that `bench --help` pays for none of them.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # `typing` would be half of what an import of this face costs
if TYPE_CHECKING:
    from typing import Any

    from prunebench import samples
    from prunebench.anatomy import Anatomy, Attention, Block, Mlp, Part
    from prunebench.engine.session import run
    from prunebench.errors import DataError, InvalidOutput, NotApplicable, PruneBenchError
    from prunebench.export.load import load
    from prunebench.measure.heap import give_back_free, is_large
    from prunebench.measure.statistics import drop_interval
    from prunebench.measure.storage import stored_byte_count
    from prunebench.own.compare import compare
    from prunebench.own.data import splits_from
    from prunebench.plugins.chart import Chart, Look
    from prunebench.plugins.contracts import (
        API_VERSION,
        Dataset,
        Method,
        Metric,
        Model,
        Objective,
        Paper,
        Task,
        Tokenizer,
        param,
        weighted_mean,
    )
    from prunebench.plugins.hookspecs import hookimpl
    from prunebench.plugins.target import Target
    from prunebench.report.results import open_results
    from prunebench.shapes import LayerCounts, LayerShape
    from prunebench.splits import Split, Splits, StreamSplit, TensorSplit
    from prunebench.trial.weights import load_weights

__version__ = "0.1.0"

_HOMES = {
    "anatomy": ("Anatomy", "Attention", "Block", "Mlp", "Part"),
    "plugins.chart": ("Chart", "Look"),
    "plugins.contracts": (
        *("API_VERSION", "Dataset", "Method", "Metric", "Model", "Objective", "Paper", "Task", "Tokenizer"),
        *("param", "weighted_mean"),
    ),
    "errors": ("DataError", "InvalidOutput", "NotApplicable", "PruneBenchError"),
    "plugins.hookspecs": ("hookimpl",),
    "export.load": ("load",),
    "measure.heap": ("give_back_free", "is_large"),
    "measure.statistics": ("drop_interval",),
    "measure.storage": ("stored_byte_count",),
    "own.compare": ("compare",),
    "own.data": ("splits_from",),
    "plugins.target": ("Target",),
    "report.results": ("open_results",),
    "engine.session": ("run",),
    "shapes": ("LayerCounts", "LayerShape"),
    "splits": ("Split", "Splits", "StreamSplit", "TensorSplit"),
    "trial.weights": ("load_weights",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "API_VERSION",
    "Anatomy",
    "Attention",
    "Block",
    "Chart",
    "DataError",
    "Dataset",
    "InvalidOutput",
    "LayerCounts",
    "LayerShape",
    "Look",
    "Method",
    "Metric",
    "Mlp",
    "Model",
    "NotApplicable",
    "Objective",
    "Paper",
    "Part",
    "PruneBenchError",
    "Split",
    "Splits",
    "StreamSplit",
    "Target",
    "Task",
    "TensorSplit",
    "Tokenizer",
    "__version__",
    "compare",
    "drop_interval",
    "give_back_free",
    "hookimpl",
    "is_large",
    "load",
    "load_weights",
    "open_results",
    "param",
    "run",
    "samples",
    "splits_from",
    "stored_byte_count",
    "weighted_mean",
]


def __getattr__(name: str) -> Any:
    if name == "samples":
        return importlib.import_module("prunebench.samples")
    if name not in _HOME:
        raise AttributeError(f"module 'prunebench' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"prunebench.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
