"""The metrics that come with prunebench and the chart that draws any, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Chart, Metric, hookimpl

from prunebench_metrics.agreement import Agreement
from prunebench_metrics.calibration import Calibration, ClassDrops, Divergence
from prunebench_metrics.corruptions import Corruptions
from prunebench_metrics.divergence import TokenDivergence
from prunebench_metrics.energy import Energy
from prunebench_metrics.harness import LmEval
from prunebench_metrics.metrics_compression import MetricsCompression
from prunebench_metrics.process_memory import ProcessMemory


@hookimpl
def metrics() -> list[type[Metric]]:
    """Numbers beyond accuracy."""
    return [Agreement, Divergence, Calibration, ClassDrops, Corruptions, TokenDivergence, ProcessMemory, Energy, LmEval]


@hookimpl
def charts() -> list[type[Chart]]:
    """What metrics say, drawn."""
    return [MetricsCompression]
