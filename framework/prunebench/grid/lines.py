"""Writes plain data as lines of a grid file: the settings of a stored trial, or of a comparison made by a call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prunebench.errors import PlanError


def value(item: Any) -> str:
    """A plain value as TOML on one line; raises `PlanError` for what TOML cannot hold."""
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, int | float):
        return repr(item)
    if isinstance(item, str):
        return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(item, Mapping):
        inside = ", ".join(f"{key(str(name))} = {value(part)}" for name, part in item.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(item, list | tuple | range):
        return f"[{', '.join(map(value, item))}]"
    raise PlanError(f"a setting must be a number, a text, true or false, or a list of them, got {item!r}")


def key(name: str) -> str:
    """A TOML key, quoted where it must be."""
    return name if name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name) else json.dumps(name)


def entry(choice: Mapping[str, Any]) -> str:
    """A stored data set, model or method: `{ use = "magnitude", keep = 0.5 }`; of a pipeline, its stages in a list."""
    if choice.get("stages"):
        return f"{{ pipeline = [{', '.join(entry(stage) for stage in choice['stages'])}] }}"
    table = without_nothing({"use": choice["use"], **(choice.get("params") or {}), **(choice.get("target") or {})})
    return value(table) if len(table) > 1 else value(choice["use"])


def protocol(settings: Mapping[str, Any]) -> str:
    """The table `[protocol]` of stored settings, a key per line."""
    kept = without_nothing(settings)
    named = [
        one if isinstance(one, str) else without_nothing({"use": one["use"], **one["params"]})
        for one in kept.get("metrics", ())
    ]
    kept |= {"metrics": named} if named else {}
    return "\n".join(["[protocol]", *(f"{key(name)} = {value(part)}" for name, part in kept.items())])


def without_nothing(item: Any) -> Any:
    """`item` without entries that are None: fields that a target solves, and options that were not set."""
    if isinstance(item, Mapping):
        return {name: without_nothing(part) for name, part in item.items() if part is not None}
    if isinstance(item, list | tuple):
        return [without_nothing(part) for part in item if part is not None]
    return item
