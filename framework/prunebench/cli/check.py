"""`bench check`."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import click

from prunebench.cli.options import json_option, plugin_options
from prunebench.cli.plugins import plugins_named


@click.command("check")
@click.argument("name")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Test it with this setting.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="PRUNEBENCH_DATA",
    help="Folder with the data sets, to test `load`.",
)
@click.option("--quick", is_flag=True, help="Skip the large layer.")
@plugin_options
@json_option
def command(
    name: str,
    settings: tuple[str, ...],
    data_dir: Path | None,
    quick: bool,
    plugin_files: tuple[Path, ...],
    disabled: tuple[str, ...],
    as_json: bool,
) -> int:
    """Test the plugin NAME with the kit that tests the built-in ones; exit code 1 if it finds a fault.

    What could not be tested is listed too: a data set that reads files needs `--data-dir`.
    """
    from prunebench.plugins.discovery import find_installed

    found = plugins_named(find_installed(plugin_files, disabled), name)
    given = dict(_setting(text) for text in settings)
    findings = [finding for plugin in found for finding in _findings(plugin, given or None, quick, data_dir)]
    untried = [line for plugin in found for line in _untried(plugin, given or None, quick, data_dir)]
    if as_json:
        told = [{**dataclasses.asdict(finding), "tried": True} for finding in findings]
        told += [{"check": "untried", "seen": line, "mend": "", "tried": False} for line in untried]
        click.echo(json.dumps(told))
        return 1 if findings else 0
    for finding in findings:
        click.echo(f"{name}: {finding}")
    for line in untried:
        click.echo(f"{name}: not tested: {line}")
    good = "no faults found in what was tested" if untried else "no faults found, publish it"
    click.echo(f"{name}: {len(findings)} finding(s)" if findings else f"{name}: {good}")
    return 1 if findings else 0


def _findings(plugin: Any, given: dict[str, Any] | None, quick: bool, data_dir: Path | None) -> list[Any]:
    from prunebench.testing import check_dataset, check_plugin

    if plugin.kind == "dataset":
        return check_dataset(plugin.cls, given, data_dir)
    return check_plugin(plugin.kind, plugin.cls, given, speed=not quick)


def _untried(plugin: Any, given: dict[str, Any] | None, quick: bool, data_dir: Path | None) -> list[str]:
    from prunebench.testing.datasets import untried

    if plugin.kind == "dataset":
        return untried(plugin.cls, given, data_dir)
    return ["a large layer (--quick)"] if plugin.kind == "method" and quick else []


def _setting(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign:
        raise click.BadParameter(f"{text!r} is not FIELD=VALUE", param_hint="--set")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value
