"""`bench papers`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import json_option, plugin_options

SCALES = ("offline", "full")


@click.group("papers", invoke_without_command=True)
@plugin_options
@json_option
@click.pass_context
def command(context: click.Context, plugin_files: tuple[Path, ...], disabled: tuple[str, ...], as_json: bool) -> None:
    """List published papers as grids, which `bench run --grid NAME` reruns, with their published numbers."""
    from prunebench.plugins.discovery import find_installed

    context.obj = find_installed(plugin_files, disabled)
    if context.invoked_subcommand is None:
        facts = [_facts(plugin) for _, plugin in sorted(context.obj.of_kind("paper").items())]
        click.echo(json.dumps(facts)) if as_json else _print(facts)


@command.command("show")
@click.argument("name")
@click.option("--scale", type=click.Choice(SCALES), help="Scale of the grid; default: the one that `bench run` takes.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), envvar="PRUNEBENCH_DATA", help="Folder with the data sets."
)
@click.option("--notes", "part", flag_value="notes", help="Print what differs from the paper, and why, as Markdown.")
@click.option("--published", "part", flag_value="published", help="Print the published numbers as a table.")
@click.option(
    "--sql", "part", flag_value="sql", help="Print the query that puts our numbers beside the published ones."
)
@json_option
@click.pass_obj
def show(installed: Any, name: str, scale: str | None, data_dir: Path | None, part: str | None, as_json: bool) -> None:
    """Print a paper's grid as TOML, ready for `bench papers show NAME > my.toml`."""
    from prunebench.engine.grids import data_folder, default_scale

    plugin = installed.find("paper", name)
    paper = plugin.cls()
    if as_json:
        click.echo(json.dumps({**_facts(plugin), **_all(paper)}))
    elif part == "published":
        _print_published(paper)
    elif part:
        click.echo(paper.notes() if part == "notes" else paper.comparison())
    else:
        chosen = scale or default_scale(paper, installed, data_folder(data_dir))
        click.echo(paper.grid(chosen), nl=False)
        if not scale:
            click.echo(f"bench: scale {chosen} (--scale {' or '.join(SCALES)})", err=True)


def _facts(plugin: Any) -> dict[str, Any]:
    """What a list says of a paper; the sizes are of its grids before anything is planned."""
    cls = plugin.cls
    grids, fault = _grids(cls)
    return {
        "name": cls.name,
        "title": cls.title,
        "citation": cls.citation,
        "link": cls.paper,
        "summary": (inspect.getdoc(cls) or "").split("\n")[0],
        "distribution": plugin.source,
        "fault": fault,
        "claims": [claim.text for claim in next(iter(grids.values())).claims] if grids else [],
        "cells": {scale: grid.count for scale, grid in grids.items()},
        "datasets": {scale: _datasets(grid) for scale, grid in grids.items()},
    }


def _grids(cls: Any) -> tuple[dict[str, Any], str]:
    """The grids by scale, and what is wrong with one: a list shows every paper, also beside a broken one."""
    from prunebench.errors import PruneBenchError
    from prunebench.grid.grid import Grid

    grids: dict[str, Any] = {}
    try:
        for scale in SCALES:
            grids[scale] = Grid.parse(cls().grid(scale), name=cls.name, source=f"{cls.name} ({scale})")
    except PruneBenchError as error:
        return grids, str(error)
    return grids, ""


def _datasets(grid: Any) -> list[str]:
    return sorted({entry.use for block in grid.blocks for entry in block.datasets})


def _all(paper: Any) -> dict[str, Any]:
    return {
        "grid": {scale: paper.grid(scale) for scale in SCALES},
        "published": paper.published(),
        "comparison": paper.comparison(),
        "notes": paper.notes(),
    }


def _print(facts: list[dict[str, Any]]) -> None:
    from prunebench.cli.tables import print_table

    columns = ["paper", "what it says", "claims", "cells offline", "cells full", "data of the full grid"]
    rows = [
        [
            fact["name"],
            f"broken: {fact['fault']}" if fact["fault"] else fact["summary"],
            len(fact["claims"]),
            fact["cells"].get("offline"),
            fact["cells"].get("full"),
            ", ".join(fact["datasets"].get("full", [])),
        ]
        for fact in facts
    ]
    note = "bench run --grid NAME [--scale offline|full]; bench papers show NAME > my.toml"
    print_table(columns, rows, note=note, spare=("data of the full grid", "cells full", "cells offline"))


def _print_published(paper: Any) -> None:
    from prunebench.cli.tables import print_table

    rows = paper.published()
    print_table(list(rows[0]), [list(row.values()) for row in rows], title=paper.citation)
