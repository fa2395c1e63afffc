"""Which promise holds where: one setting's speedup in torch, compiled, exported, in ONNX Runtime and OpenVINO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.records import Runtime
from prunebench.report.charts.columns import SPEEDUP, WHICH
from prunebench.report.charts.marks import even, speedups_beside, with_intervals
from prunebench.report.charts.template import filled


@dataclass(frozen=True)
class Runtimes(Chart):
    """Measured speedup by what ran both networks, each against the dense network in the same runtime. The tick is what
    the arithmetic promises, the line at 1× is as fast as dense; bars are 95 % intervals.
    """

    name = "runtimes"
    title = "Which promise holds in which runtime"
    empty = "No setting here was timed in more than one runtime."
    columns = {
        **WHICH,
        "batch": ("batch size", "integer"),
        "runtime": ("runtime", "text"),
        **SPEEDUP,
        "promise": ("theoretical speedup", "ratio"),
    }

    @property
    def sql(self) -> str:
        """The query, with the fragment that it shares."""
        return filled(self.name)

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and batch size; a column a runtime."""
        x = alt.X(
            "runtime",
            type="nominal",
            sort=list(get_args(Runtime)),
            axis=alt.Axis(title=None, labelAngle=-30, grid=False),
        )
        base = speedups_beside(rows, x, look)
        equal = even().encode(y=alt.Y("even", type="quantitative"))
        promise = base.mark_tick(thickness=2, color="#7d8590", opacity=0.8).encode(
            y=alt.Y("promise", type="quantitative")
        )
        told = look.tips(
            ("speedup", "measured", ".2f"), ("speedup_low", "interval from", ".2f"), ("promise", "promised", ".2f")
        )
        return alt.layer(equal, promise, *with_intervals(base, look, told))
