"""prunebench: benchmark neural network pruning and compression, keep the results, see who is right.

The face of the framework: what plugins and scripts import. Everything else is private.
"""

from __future__ import annotations

from typing import Any

from prunebench.contracts import API_VERSION, Dataset, Method, Model, Paper, Task, param
from prunebench.errors import DataError, NotApplicable, PruneBenchError
from prunebench.hookspecs import hookimpl
from prunebench.shapes import LayerCounts, LayerShape
from prunebench.splits import Split, Splits, StreamSplit, TensorSplit

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "DataError",
    "Dataset",
    "LayerCounts",
    "LayerShape",
    "Method",
    "Model",
    "NotApplicable",
    "Paper",
    "PruneBenchError",
    "Split",
    "Splits",
    "StreamSplit",
    "Task",
    "TensorSplit",
    "__version__",
    "hookimpl",
    "open_results",
    "param",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "run":
        from prunebench.session import run

        return run
    if name == "open_results":
        from prunebench.store import open_results

        return open_results
    raise AttributeError(f"module 'prunebench' has no attribute {name!r}")
