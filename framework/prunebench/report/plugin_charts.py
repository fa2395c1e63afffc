"""Charts that plugins bring, beside the bundled ones: which there are, and what goes wrong with them in one line.

A plugin's chart may fail in any way; that costs its own place in a page and nothing else.
"""

from __future__ import annotations

from prunebench.errors import PruneBenchError, did_you_mean
from prunebench.plugins.chart import Chart
from prunebench.plugins.discovery import Installed, Plugin, find_installed
from prunebench.report.charts import ALIASES, ASKED, NAMES, POINTS, load
from prunebench.report.guard import guarded
from prunebench.report.papers import figure_names, find_figure

BUNDLED = {*NAMES, *ASKED, *ALIASES}
TAKEN = {*BUNDLED, POINTS}


def brought(installed: Installed) -> list[Plugin]:
    """The usable charts of plugins, by name."""
    return [plugin for name, plugin in sorted(installed.of_kind("chart").items()) if name not in TAKEN]


def unusable(installed: Installed) -> list[str]:
    """A line for each chart that is left out for its name."""
    taken = [plugin for name, plugin in sorted(installed.of_kind("chart").items()) if name in TAKEN]
    lines = [f"chart {one.name} of {one.source} is left out: prunebench has a chart of that name" for one in taken]
    for owners in installed.clashes:
        if owners[0].kind == "chart":
            whose = " and ".join(sorted(owner.source for owner in owners))
            lines.append(f"chart {owners[0].name} is left out: it is claimed by {whose}")
    return lines


def find_chart(name: str, installed: Installed | None = None) -> Chart:
    """The chart called `name`: bundled, brought or a paper's figure; plugins are looked for only where it is needed."""
    if name in BUNDLED:
        return load(name)
    found = installed or find_installed()
    if ("chart", name) in found.by_name:
        return made(found.find("chart", name))
    if figure := guarded(name, lambda: find_figure(name, found)):
        return figure
    known = [*NAMES, *ASKED, *found.of_kind("chart"), *(figure for figure, _, _ in figure_names(found))]
    raise PruneBenchError(f"no chart {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")


def made(plugin: Plugin) -> Chart:
    """A plugin's chart; raises PluginError where it cannot be had."""
    chart: Chart = guarded(plugin.name, plugin.cls)
    return chart
