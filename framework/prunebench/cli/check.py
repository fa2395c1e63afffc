"""`bench check`."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import click

from prunebench.cli.naming import plugins_named
from prunebench.cli.options import json_option, plugin_options


@click.command("check")
@click.argument("name")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Try it with this setting.")
@click.option("--quick", is_flag=True, help="Leave the large layer out.")
@plugin_options
@json_option
def command(
    name: str,
    settings: tuple[str, ...],
    quick: bool,
    plugin_files: tuple[Path, ...],
    disabled: tuple[str, ...],
    as_json: bool,
) -> int:
    """Judge the plugin NAME by the kit that judges all of them; exit code 1 where it finds a fault."""
    from prunebench.plugins.discovery import find_installed

    found = plugins_named(find_installed(plugin_files, disabled), name)
    given = dict(_setting(text) for text in settings)
    findings = [finding for plugin in found for finding in _findings(plugin, given, quick)]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{name}: {finding}")
        click.echo(f"{name}: {len(findings)} finding(s)" if findings else f"{name}: nothing found, publish it")
    return 1 if findings else 0


def _setting(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign:
        raise click.BadParameter(f"{text!r} is not FIELD=VALUE", param_hint="--set")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value


def _findings(plugin: Any, settings: dict[str, Any], quick: bool) -> list[Any]:
    from prunebench import testing

    if plugin.kind == "method":
        return testing.check_method(plugin.cls, settings or None, speed=not quick)
    if plugin.kind == "model":
        return testing.check_model(plugin.cls, settings)
    if plugin.kind == "dataset":
        return testing.check_dataset(plugin.cls, settings)
    if plugin.kind == "metric":
        return testing.check_metric(plugin.cls, settings)
    if plugin.kind == "chart":
        return testing.check_chart(plugin.cls)
    return testing.check_paper(plugin.cls)
