"""`bench chart`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from prunebench.cli.options import db_option, json_option, plugin_options

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class _Asked:
    """The words of one call."""

    name: str | None
    run: str | None
    listing: bool
    everything: bool
    sql: str | None
    show_sql: bool
    output: Path | None
    width: int
    font_size: int
    scale: float
    theme: Literal["light", "dark"]
    plugin_files: tuple[Path, ...]
    disabled: tuple[str, ...]
    as_json: bool
    db: Path


@click.command("chart")
@click.argument("name", required=False)
@click.argument("run", required=False)
@click.option("--list", "listing", is_flag=True, help="List the charts.")
@click.option("--all", "everything", is_flag=True, help="Draw every trial in the database, not only the latest run's.")
@click.option(
    "--sql", metavar="SQL", help="Draw these rows instead of the chart's own. Start from the output of `--show-sql`."
)
@click.option("--show-sql", is_flag=True, help="Print the chart's query.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write: x.svg, .png, .pdf, .html or .json.",
)
@click.option(
    "--width", type=click.IntRange(80, 4000), default=340, show_default=True, help="Width of a panel, in points."
)
@click.option("--font-size", type=click.IntRange(5, 60), default=12, show_default=True, help="Font size, in points.")
@click.option(
    "--scale", type=click.FloatRange(0.25, 8), default=2.0, show_default=True, help="Pixels per point, for PNG."
)
@click.option(
    "--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True, help="Colours of the page."
)
@plugin_options
@json_option
@db_option
def command(**words: Any) -> int:
    """Draw one chart of a RUN (by default the latest); the file's suffix chooses the format.

    NAME is one of `bench chart --list`, which includes the figures of papers, or `points`, which draws the first three
    columns of any --sql.
    """
    asked = _Asked(**words)
    from prunebench.plugins.discovery import find_installed

    if asked.listing or asked.name is None:
        return _list(find_installed(asked.plugin_files, asked.disabled), asked.as_json)
    from prunebench.report.charts import POINTS
    from prunebench.report.export import Sizes, write
    from prunebench.report.guard import guarded
    from prunebench.report.plugin_charts import BUNDLED, find_chart

    sizes = Sizes(asked.width, asked.font_size, asked.scale, asked.theme)
    output = asked.output or Path(f"{asked.name}.svg")
    if asked.name == POINTS:
        return _points(asked.db, asked.sql, output, sizes)
    installed = None if asked.name in BUNDLED else find_installed(asked.plugin_files, asked.disabled)
    chart = find_chart(asked.name, installed)
    if asked.show_sql:
        click.echo(chart.sql, nl=False)
        return 0
    frame, text = _rows(chart, asked.db, asked.run, asked.everything, asked.sql)
    click.echo(guarded(chart.name, lambda: write(output, chart, frame, text, sizes)))
    return 0


def _rows(chart: Any, db: Path, run: str | None, everything: bool, sql: str | None) -> tuple[pl.DataFrame, str]:
    """The chart's rows and the query that they come from; a query given on the command line is run sealed."""
    from prunebench.report.export import chart_rows, ready
    from prunebench.report.runs import find_run
    from prunebench.report.scope import Scope
    from prunebench.store import open_results

    if sql is not None:
        return ready(chart, sealed_frame(db, sql)), sql
    with open_results(db) as results:
        scope = Scope(None if everything else find_run(results, run))
        return chart_rows(chart, results, scope), scope.limit(chart.sql)


def _points(db: Path, sql: str | None, output: Path, sizes: Any) -> int:
    from prunebench.report.export import write_spec
    from prunebench.report.generic import points

    if sql is None:
        raise click.UsageError("the chart points needs --sql")
    drawn = points(sealed_frame(db, sql), sizes.width, sizes.theme, sizes.font_size)
    click.echo(write_spec(output, drawn.to_dict(validate=False), sizes))
    return 0


def sealed_frame(db: Path, sql: str) -> pl.DataFrame:
    """The rows of a stranger's SQL, run in the sealed child process."""
    import polars as pl

    from prunebench.store.sealed_client import sealed_query

    answer = sealed_query(db, sql, row_limit=200_000)
    names = [
        name if answer.columns.count(name) == 1 else f"{name} {place}" for place, name in enumerate(answer.columns)
    ]
    return pl.DataFrame(answer.rows, schema=names, orient="row", infer_schema_length=None)


def _list(installed: Any, as_json: bool) -> int:
    from prunebench.cli.tables import json_text, print_table
    from prunebench.report.charts import load_all, load_asked
    from prunebench.report.papers import figure_names
    from prunebench.report.plugin_charts import brought, made, unusable

    rows = [(chart.name, chart.title, chart.about, "prunebench") for chart in (*load_all(), *load_asked())]
    for plugin in brought(installed):
        chart = made(plugin)
        rows.append((chart.name, chart.title, chart.about, plugin.source))
    rows += [(name, title, "", f"paper {paper}") for name, title, paper in figure_names(installed)]
    if as_json:
        click.echo(json_text(("name", "title", "about", "from"), rows))
        return 0
    print_table(("name", "title", "from"), [(name, title, source) for name, title, _, source in rows])
    for line in unusable(installed):
        click.echo(line)
    return 0
