"""The kinds of plugins: one row per kind, from which hooks, discovery, registry, scaffold, kit and commands follow.

A new kind needs a row here, the contract that the row names, `check_NAME` in `prunebench.testing`, and a folder
`templates/NAME`. `tests/framework/test_kinds.py` says which of these is missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

COMMON_TRAITS = ("api_version",)


@dataclass(frozen=True)
class Kind:
    """One kind of plugin."""

    name: str
    contract: str  # "module:Class", what an author subclasses; a string, so that `bench --help` loads no contract
    about: str  # one line, the documentation of the hook
    traits: tuple[str, ...] = ()  # class attributes that `bench plugins show` prints
    kit_options: tuple[str, ...] = ()  # of `bench check` that the kit's function takes: "settings", "speed"
    is_package: bool = False  # brings files of data: `bench new` makes a package of it, and its name has dashes

    @property
    def hook(self) -> str:
        """The name of the function that a plugin module marks with `@hookimpl`."""
        return f"{self.name}s"

    @property
    def kit(self) -> str:
        """The name of the kit's function in `prunebench.testing`."""
        return f"check_{self.name}"

    @property
    def template(self) -> str:
        """The folder under `templates/` that `bench new` starts from."""
        return self.name

    @cached_property
    def base(self) -> type[Any]:
        """The contract's class."""
        module, _, name = self.contract.partition(":")
        found: type[Any] = getattr(importlib.import_module(module), name)
        return found

    def plugin_name(self, name: str) -> str:
        """How a plugin whose Python name is `name` is called in grids and commands."""
        return name.replace("_", "-") if self.is_package else name


_ROWS = (
    Kind(
        "method",
        "prunebench.plugins.contracts:Method",
        "Ways to make a network smaller.",
        traits=("knob", "loosest", "stochastic", "trains", "control", "objectives"),
        kit_options=("settings", "speed"),
    ),
    Kind(
        "model",
        "prunebench.plugins.contracts:Model",
        "Architectures.",
        traits=("input_shape", "objectives"),
        kit_options=("settings",),
    ),
    Kind(
        "dataset",
        "prunebench.plugins.contracts:Dataset",
        "Samples with targets.",
        traits=("objective", "class_count"),
        kit_options=("settings",),
    ),
    Kind(
        "objective",
        "prunebench.plugins.contracts:Objective",
        "What networks are trained for and scored by.",
        traits=("score", "larger_is_better", "compared", "near", "paired", "units"),
        kit_options=("settings",),
    ),
    Kind(
        "paper",
        "prunebench.plugins.contracts:Paper",
        "Publications as grids.",
        is_package=True,
    ),
    Kind(
        "metric",
        "prunebench.plugins.contracts:Metric",
        "Named numbers about a pruned network beside its dense one.",
        traits=("units",),
        kit_options=("settings",),
    ),
    Kind(
        "chart",
        "prunebench.plugins.chart:Chart",
        "Queries and how their rows are drawn.",
    ),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ROWS}
TRAITS = tuple(dict.fromkeys([*(trait for kind in _ROWS for trait in kind.traits), *COMMON_TRAITS]))
