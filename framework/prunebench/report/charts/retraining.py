"""What retraining buys, by how it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.columns import ACCURACY, WHICH
from prunebench.report.charts.marks import tip
from prunebench.report.charts.tradeoff import LOW, dense_line, scored
from prunebench.report.score import CLASSIC


@dataclass(frozen=True)
class Retraining(Chart):
    """The score of pruned networks by the epochs that they were trained for again. Lines join the epochs of one setting
    and one way: fine-tuning, weights or learning rates rewound, from scratch. The dashed line is the dense network.
    """

    name = "retraining"
    title = "What retraining buys"
    empty = "No trial here was trained again after pruning."
    columns = {
        **{name: WHICH[name] for name in ("panel", "method", "setting", "control", "seed_count")},
        "retraining": ("retraining", "text"),
        "epochs": ("epochs of retraining", "integer"),
        **{name: ACCURACY[name] for name in ("accuracy", "accuracy_low", "accuracy_high", "dense_accuracy")},
        **{name: ACCURACY[name] for name in ("score_title", "score_unit", "larger_is_better", "score_compared")},
    }

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel."""
        title, form = getattr(look, "score", CLASSIC)[0], getattr(look, "score_format", ".2%")
        x = alt.X("epochs", type="quantitative", scale=alt.Scale(nice=False, padding=12),
                  axis=alt.Axis(title="Epochs of retraining", format="d", tickMinStep=1, grid=False))  # fmt: skip
        ways = alt.StrokeDash("retraining", type="nominal", legend=alt.Legend(title=None, orient="bottom"))
        base = alt.Chart(rows).encode(
            x=x, y=alt.Y("accuracy", **look.axis(*scored(look))), color=look.colour(),
            detail=[alt.Detail("setting", type="nominal"), alt.Detail("retraining", type="nominal")],
        )  # fmt: skip
        low = LOW if getattr(look, "score_is_ratio", False) else "datum.accuracy_low"
        bars = (
            base.transform_calculate(drawn_low=low)
            .mark_rule(strokeWidth=1.1)
            .encode(y=alt.Y("drawn_low", type="quantitative"), y2="accuracy_high", opacity=look.faded(0.5))
        )
        told = [tip("setting", "setting", kind="nominal"), tip("retraining", "retraining", kind="nominal"),
                tip("epochs", "epochs"), tip("accuracy", title, form), tip("dense_accuracy", "dense", form),
                tip("seed_count", "seeds")]  # fmt: skip
        line = base.mark_line(strokeWidth=1.4).encode(strokeDash=ways, opacity=look.faded(0.8))
        points = base.mark_point(filled=True, size=50).encode(
            shape=look.shape(), opacity=look.faded(0.95), tooltip=told
        )
        return alt.layer(dense_line(rows), bars, line, points)
