"""Validation accuracy epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from prunebench.plugins.chart import Chart, Look
from prunebench.report.charts.columns import WHICH
from prunebench.report.charts.marks import tip
from prunebench.report.score import CLASSIC

WHOLE = "datum.value % 1 ? '' : datum.label"  # between two epochs there are ticks, but no epoch
# About twenty marks a curve: its last epoch and even steps before it, so that a long one remains a line.
EACH = "datum.epoch === datum.last || datum.epoch % max(1, ceil(datum.last / 20)) === 0"


@dataclass(frozen=True)
class Curves(Chart):
    """Validation score by epoch, which is the accuracy of classifiers: a line per setting, averaged over seeds; the
    band around the dense network's training is one standard deviation.
    """

    name = "curves"
    title = "Training and fine-tuning"
    empty = "No trial here was trained or fine-tuned, so that there is no curve."
    columns = {
        **WHICH,
        "epoch": ("epoch", "integer"),
        "accuracy": ("validation score, mean", "share"),
        "accuracy_low": ("mean − std", "share"),
        "accuracy_high": ("mean + std", "share"),
        "loss": ("validation loss, mean", "number"),
        "curve_count": ("curves", "integer"),
        "score_title": ("score of", "text"),
        "score_unit": ("unit of the score", "text"),
        "larger_is_better": ("larger is better", "bool"),
    }

    def draw(self, rows: Any, look: Look) -> Any:
        """One panel and phase."""
        axis = alt.Axis(title="Epoch", format="d", labelExpr=WHOLE, tickMinStep=1, grid=False)
        x = alt.X("epoch", type="quantitative", axis=axis, scale=alt.Scale(nice=False, padding=10))
        base = alt.Chart(rows).encode(x=x, color=look.colour(), detail=alt.Detail("setting", type="nominal"))
        title, form = getattr(look, "score", CLASSIC)[0], getattr(look, "score_format", ".2%")
        told = [tip("setting", "setting", kind="nominal"), tip("epoch", "epoch"), tip("accuracy", title, form),
                tip("loss", "loss", ".4f"), tip("curve_count", "curves"), tip("seed_count", "seeds")]  # fmt: skip
        y = alt.Y("accuracy", **look.axis(getattr(look, "score_kind", "share"), f"Validation {title}"))
        line = base.mark_line(strokeWidth=1.3).encode(y=y, opacity=look.faded(0.7))
        ticked = base.transform_joinaggregate(last="max(epoch)", groupby=["setting"]).transform_filter(EACH)
        points = ticked.mark_point(filled=True, size=26).encode(
            y=y, shape=look.shape(), tooltip=told, opacity=look.faded(0.9)
        )
        trained = alt.condition("datum.part === 'training'", alt.value(0.16), alt.value(0))
        spread = base.mark_area(line=False, tooltip=None).encode(
            y=alt.Y("accuracy_low", type="quantitative"), y2="accuracy_high", opacity=trained
        )
        return alt.layer(spread, line, points)
