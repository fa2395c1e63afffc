"""The kit that tests built-in and third-party plugins alike: one line per finding, with the fix.

    from prunebench.testing import check_method
    assert check_method(MyMethod) == []

`bench check NAME` prints the same findings; the pytest plugin gives the functions as fixtures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench.plugins.kinds import KINDS
from prunebench.testing.charts import check_chart
from prunebench.testing.datasets import check_dataset
from prunebench.testing.findings import Finding
from prunebench.testing.methods import check_method
from prunebench.testing.metrics import check_metric
from prunebench.testing.models import check_model
from prunebench.testing.objectives import check_objective
from prunebench.testing.papers import check_paper

__all__ = [
    "Finding",
    "check_chart",
    "check_dataset",
    "check_method",
    "check_metric",
    "check_model",
    "check_objective",
    "check_paper",
    "check_plugin",
]


def check_plugin(
    kind: str, cls: type[Any], settings: Mapping[str, Any] | None = None, *, speed: bool = True
) -> list[Finding]:
    """Findings about a plugin of `kind`, from the function for that kind; options that it does not take are ignored."""
    given = {"settings": settings, "speed": speed}
    found: list[Finding] = globals()[KINDS[kind].kit](cls, **{name: given[name] for name in KINDS[kind].kit_options})
    return found
