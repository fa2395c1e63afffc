"""Writes docs/methods.md to standard output: every bundled method from its own words."""

from __future__ import annotations

import dataclasses
import inspect

from prunebench.plugins.discovery import find_installed

WORDS = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}


def page() -> str:
    """The page."""
    parts = ["# Methods\n\nMade by `python docs/make/methods.py > docs/methods.md` from the plugins' own words.\n"]
    methods = find_installed().of_kind("method")
    for name in sorted(methods):
        if methods[name].distribution == "prunebench":
            parts.append(section(methods[name].cls))
    return "\n".join(parts)


def section(cls) -> str:
    """One method."""
    text = f"## {cls.name}\n\n{inspect.getdoc(cls)}\n"
    if cls.paper:
        text += f"\nPaper: <{cls.paper}>\n"
    fields = dataclasses.fields(cls)
    if fields:
        text += "\n| field | default | meaning |\n| --- | --- | --- |\n"
    for item in fields:
        bounds = ", ".join(f"{words} {item.metadata[key]:g}" for key, words in WORDS.items() if limit(item, key))
        choices = "one of " + ", ".join(map(str, item.metadata["choices"])) if item.metadata.get("choices") else ""
        meaning = "; ".join(part for part in (item.metadata.get("doc", ""), bounds, choices) if part)
        default = "required" if item.default is dataclasses.MISSING else f"`{item.default!r}`"
        text += f"| `{item.name}` | {default} | {meaning.replace('|', chr(92) + '|')} |\n"
    return text


def limit(item, key) -> bool:
    """Whether the field has this bound."""
    return item.metadata.get(key) is not None


print(page(), end="")
