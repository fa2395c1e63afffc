"""The grid lines that repeat a stored trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def value(item: Any) -> str:
    """A plain value as TOML, tables inline."""
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, int | float):
        return repr(item)
    if isinstance(item, Mapping):
        inside = ", ".join(f"{key(name)} = {value(part)}" for name, part in item.items() if part is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(item, list | tuple):
        return f"[{', '.join(value(part) for part in item if part is not None)}]"
    return json.dumps(str(item), ensure_ascii=False).replace("\x7f", "\\u007f")


def key(name: str) -> str:
    """A key, quoted where it has to be."""
    return name if name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name) else json.dumps(name)


def entry(choice: Mapping[str, Any]) -> str:
    """A data set, model or method: `{ use = "magnitude", keep = 0.5 }`; of a pipeline, its stages in a list."""
    if choice.get("stages"):
        return f"{{ pipeline = [{', '.join(entry(stage) for stage in choice['stages'])}] }}"
    target = choice.get("target") or {}
    solved = {name for name, part in (choice.get("params") or {}).items() if part is None}
    given = {name: part for name, part in (choice.get("params") or {}).items() if name not in solved}
    table = {"use": choice["use"], **given, **target}
    return value(table) if len(table) > 1 else value(choice["use"])


def protocol(settings: Mapping[str, Any]) -> str:
    """The table `[protocol]`, every key of it."""
    return "\n".join(["[protocol]", *(f"{key(name)} = {value(part)}" for name, part in settings.items())])
