"""The plugin that a user names without its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prunebench.plugins.discovery import Installed, Plugin


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
