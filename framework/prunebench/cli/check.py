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
    from prunebench.testing import check_plugin

    found = plugins_named(find_installed(plugin_files, disabled), name)
    given = dict(_setting(text) for text in settings)
    findings = [
        finding for plugin in found for finding in check_plugin(plugin.kind, plugin.cls, given or None, speed=not quick)
    ]
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
