"""The kit that judges bundled and foreign plugins alike: one line a finding, with the mend.

    from prunebench.testing import check_method
    assert check_method(MyMethod) == []

`bench check NAME` prints the same findings; the pytest plugin gives the functions as fixtures.
"""

from __future__ import annotations

from prunebench.testing.charts import check_chart
from prunebench.testing.datasets import check_dataset
from prunebench.testing.findings import Finding
from prunebench.testing.methods import check_method
from prunebench.testing.metrics import check_metric
from prunebench.testing.models import check_model
from prunebench.testing.papers import check_paper

__all__ = ["Finding", "check_chart", "check_dataset", "check_method", "check_metric", "check_model", "check_paper"]
