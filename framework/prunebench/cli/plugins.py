"""`bench plugins`."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.cli.options import json_option, plugin_options
from prunebench.plugins.kinds import TRAITS

if TYPE_CHECKING:
    from prunebench.plugins.discovery import Installed, Plugin


@click.group("plugins", invoke_without_command=True)
@plugin_options
@json_option
@click.pass_context
def command(context: click.Context, plugin_files: tuple[Path, ...], disabled: tuple[str, ...], as_json: bool) -> None:
    """List plugins: installed, broken and why, published but not installed."""
    from prunebench.plugins.discovery import find_installed

    context.obj = (plugin_files, disabled)
    if context.invoked_subcommand is None:
        facts = _facts(find_installed(plugin_files, disabled))
        click.echo(json.dumps(facts)) if as_json else _print(facts)


@command.command("show")
@click.argument("name")
@plugin_options
@json_option
@click.pass_obj
def show(
    above: tuple[tuple[Path, ...], tuple[str, ...]],
    name: str,
    plugin_files: tuple[Path, ...],
    disabled: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show a plugin's documentation.

    That is what it does, its fields with their bounds, and its paper; for a broken plugin, the reason.
    """
    from prunebench.plugins.discovery import find_installed

    installed = find_installed((*above[0], *plugin_files), (*above[1], *disabled))
    facts = [
        {**_plugin(plugin, installed), **_traits(plugin.cls), "documentation": inspect.getdoc(plugin.cls) or ""}
        for plugin in plugins_named(installed, name)
    ]
    if as_json:
        click.echo(json.dumps(facts))
        return
    for fact in facts:
        _document(fact)


def _facts(installed: Any) -> dict[str, Any]:
    from prunebench.plugins.registry import load_registry

    known = {(plugin.kind, plugin.name) for plugin in installed.plugins}
    published = [entry for entry in load_registry().entries if (entry.kind, entry.name) not in known]
    return {
        "installed": [
            _plugin(plugin, installed) for plugin in sorted(installed.plugins, key=lambda p: (p.kind, p.name))
        ],
        "broken": [dataclasses.asdict(fault) for fault in installed.broken],
        "clashes": [
            {"kind": owners[0].kind, "name": owners[0].name, "owners": [owner.source for owner in owners]}
            for owners in installed.clashes
        ],
        "warnings": list(installed.warnings),
        "published": [dataclasses.asdict(entry) for entry in published],
    }


def _plugin(plugin: Any, installed: Any) -> dict[str, Any]:
    from prunebench.plugins.parameters import defaults

    first_line = (inspect.getdoc(plugin.cls) or "").split("\n")[0]
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": _state(plugin, installed),
        "summary": first_line,
        "paper": plugin.cls.paper,
        "fields": [_field(item, defaults(plugin.cls)) for item in dataclasses.fields(plugin.cls)],
    }


def _state(plugin: Any, installed: Any) -> str:
    """`healthy`, or in a word why not."""
    from prunebench.plugins.contracts import API_VERSION
    from prunebench.plugins.parameters import default_fault

    if len(installed.by_name[plugin.kind, plugin.name]) > 1:
        return "clash"
    if fault := default_fault(plugin.cls):
        return fault
    return "healthy" if plugin.cls.api_version == API_VERSION else f"old API {plugin.cls.api_version}"


def _traits(cls: Any) -> dict[str, Any]:
    """What the class says of itself beside its fields, as far as its kind has it."""
    found = {name: getattr(cls, name, None) for name in TRAITS}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}


def _field(item: Any, usual: dict[str, Any]) -> dict[str, Any]:
    bounds = {
        key: item.metadata[key]
        for key in ("at_least", "above", "at_most", "below")
        if item.metadata.get(key) is not None
    }
    return {
        "name": item.name,
        "type": item.type if isinstance(item.type, str) else getattr(item.type, "__name__", str(item.type)),
        "default": usual.get(item.name),
        "doc": item.metadata.get("doc", ""),
        "unit": item.metadata.get("unit", ""),
        "choices": list(item.metadata.get("choices", ())),
        "bounds": bounds,
    }


def _print(facts: dict[str, Any]) -> None:
    from prunebench.cli.tables import print_table

    print_table(
        ["kind", "name", "distribution", "state", "what it is", "paper", "fields"],
        [
            [
                plugin["kind"],
                plugin["name"],
                f"{plugin['distribution']} {plugin['version']}",
                plugin["state"],
                plugin["summary"],
                plugin["paper"].removeprefix("https://"),
                ", ".join(field["name"] for field in plugin["fields"]),
            ]
            for plugin in facts["installed"]
        ],
        spare=("fields", "paper", "distribution", "state"),
    )
    for fault in facts["broken"]:
        click.echo(f"broken: {fault['name']} ({fault['distribution']} {fault['version']}): {fault['reason']}")
    for clash in facts["clashes"]:
        click.echo(f"clash: {clash['kind']} {clash['name']} is claimed by {' and '.join(clash['owners'])}")
    for warning in facts["warnings"]:
        click.echo(f"warning: {warning}")
    for entry in facts["published"]:
        click.echo(
            f"published: {entry['kind']} {entry['name']}: {entry['summary']} (pip install '{entry['distribution']}')"
        )


BOUND_WORDS = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}


def _document(fact: dict[str, Any]) -> None:
    click.echo(f"{fact['name']} ({fact['kind']}, {fact['distribution']} {fact['version']})")
    click.echo(f"\n{fact['documentation']}\n" if fact["fields"] else f"\n{fact['documentation']}")
    for item in fact["fields"]:
        bounds = ", ".join(f"{BOUND_WORDS[key]} {value:g}" for key, value in item["bounds"].items())
        choices = "one of " + ", ".join(map(str, item["choices"])) if item["choices"] else ""
        extra = "; ".join(part for part in (item["doc"], bounds, choices, item["unit"]) if part)
        click.echo(f"  {item['name']}: {item['type']} = {item['default']!r}" + (f"  {extra}" if extra else ""))
    said = {"state": fact["state"], **{name: fact[name] for name in TRAITS}, "paper": fact["paper"]}
    click.echo()
    for name, value in said.items():
        if value not in (None, "", {}):
            click.echo(f"{name.replace('_', ' ')}: {_words(value)}")


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(f"{key} = {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def plugins_named(installed: Installed, name: str) -> list[Plugin]:
    """The plugins called `name`, of whatever kind; raises PluginError that says why there is none."""
    from prunebench.errors import PluginError, did_you_mean
    from prunebench.plugins.registry import load_registry

    found = [plugin for plugin in installed.plugins if plugin.name == name]
    if found:
        return found
    for fault in installed.broken:
        if name in (fault.distribution, *fault.name.split(": ")):
            raise PluginError(f"plugin {fault.name} ({fault.distribution} {fault.version}) is broken: {fault.reason}")
    others = [f"{fault.name} ({fault.distribution})" for fault in installed.broken]
    known = [plugin.name for plugin in installed.plugins]
    hint = load_registry().advice_for(name) or did_you_mean(name, known) or "; bench plugins lists them"
    also = f" (broken, so that it may be theirs: {', '.join(others)})" if others else ""
    raise PluginError(f"no plugin {name!r} is installed{hint}{also}")
