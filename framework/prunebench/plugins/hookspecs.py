"""The whole plugin API: a module named by an entry point of the group `prunebench` implements any of these.

Hooks return classes, not instances, so that the source of each plugin is known and a grid decides its parameters.
"""

from __future__ import annotations

from pluggy import HookimplMarker, HookspecMarker

from prunebench.plugins.chart import Chart
from prunebench.plugins.contracts import Dataset, Method, Metric, Model, Paper

hookspec = HookspecMarker("prunebench")
hookimpl = HookimplMarker("prunebench")


@hookspec
def methods() -> list[type[Method]]:
    """Ways to make a network smaller."""
    raise NotImplementedError


@hookspec
def models() -> list[type[Model]]:
    """Architectures."""
    raise NotImplementedError


@hookspec
def datasets() -> list[type[Dataset]]:
    """Labelled data."""
    raise NotImplementedError


@hookspec
def papers() -> list[type[Paper]]:
    """Publications as grids."""
    raise NotImplementedError


@hookspec
def metrics() -> list[type[Metric]]:
    """Named numbers about a pruned network beside its dense one."""
    raise NotImplementedError


@hookspec
def charts() -> list[type[Chart]]:
    """Queries and how their rows are drawn."""
    raise NotImplementedError
