"""Results that can be drawn: what `prunebench.open_results` gives to notebooks and scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from prunebench.plugins.chart import Chart
from prunebench.report.scope import Scope
from prunebench.store import Results as Rows
from prunebench.store import open_results as open_rows


class Results(Rows):
    """Results of a database: `query` gives polars frames, `chart` Altair charts."""

    def chart(
        self,
        name: str | type[Chart],
        *,
        run: str | None = None,
        query: str | None = None,
        sql: str | None = None,
        width: int = 340,
        theme: Literal["light", "dark"] = "light",
    ) -> Any:
        """The chart of a run, of a `query`'s trials, or of everything; `sql` replaces the chart's own query.

        `name` is a bundled chart's, a plugin's or `points`; a class of a chart serves too, while it is being written.
        """
        from prunebench.report.charts import POINTS
        from prunebench.report.draw import alone
        from prunebench.report.export import chart_rows, ready
        from prunebench.report.generic import points
        from prunebench.report.plugin_charts import find_chart

        if name == POINTS:
            return points(self.query(sql or ""), width, theme)
        chart = find_chart(name) if isinstance(name, str) else name()
        rows = ready(chart, self.query(sql)) if sql else chart_rows(chart, self, Scope(run, query))
        return alone(chart, rows, width, theme)

    def charts(self) -> dict[str, str]:
        """Every chart's name and title, those of plugins last."""
        from prunebench.plugins.discovery import find_installed
        from prunebench.report.charts import load_all, load_asked
        from prunebench.report.plugin_charts import brought

        bundled = {chart.name: chart.title for chart in (*load_all(), *load_asked())}
        return bundled | {plugin.name: plugin.cls.title for plugin in brought(find_installed())}


def open_results(path: str | Path = "runs/results.duckdb", run: str = "") -> Results:
    """The results stored at `path`; with `run`, only the trials that this run's grid asked for.

    Raises StoreError where there are none.
    """
    open_rows(path, run).close()
    return Results(path, run)
