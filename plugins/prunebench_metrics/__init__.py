"""The metrics that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Metric, hookimpl

from prunebench_metrics.agreement import Agreement


@hookimpl
def metrics() -> list[type[Metric]]:
    """Numbers beyond accuracy."""
    return [Agreement]
