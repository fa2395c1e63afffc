"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DATABASE = Path("runs") / "results.duckdb"


def db_option(function: F) -> F:
    """`--db PATH`, the results database."""
    return click.option(
        "--db",
        type=click.Path(path_type=Path),
        default=DATABASE,
        envvar="PRUNEBENCH_DB",
        show_default=True,
        help="The results database.",
    )(function)


def json_option(function: F) -> F:
    """`--json`, for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def plugin_options(function: F) -> F:
    """`--plugin FILE` and `--disable-plugin NAME`."""
    function = click.option(
        "--disable-plugin",
        "disabled",
        multiple=True,
        metavar="NAME",
        help="Start without this entry point or distribution (or DISTRIBUTION:NAME).",
    )(function)
    return click.option(
        "--plugin",
        "plugin_files",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Load a plugin from a Python file, recorded with its hash.",
    )(function)


def grid_options(function: F) -> F:
    """`--grid`, `--scale`, `--limit`, `--retry` and where data lies."""
    for option in (
        click.option(
            "--data-dir", type=click.Path(path_type=Path), envvar="PRUNEBENCH_DATA", help="Folder with the data sets."
        ),
        click.option(
            "--retry",
            multiple=True,
            type=click.Choice(["failed", "timeout", "killed", "oom", "skipped", "ok", "all", "code"]),
            help="Re-run trials with this status; all: with any status except ok; code: made by other plugin code.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(1),
            default=100_000,
            show_default=True,
            help="Refuse grids with more trials than this.",
        ),
        click.option(
            "--scale",
            type=click.Choice(["offline", "full", "available"]),
            help="Scale of a paper's grid; default: full if its data sets are on disk, else offline. "
            "available: the full grid's blocks whose data sets are on disk.",
        ),
        click.option(
            "--grid",
            "-g",
            required=True,
            metavar="FILE|NAME",
            help="A grid file, or the name of a bundled grid (quickstart) or paper.",
        ),
    ):
        function = option(function)
    return function
