"""Writes docs/reference.md to standard output: every name that `prunebench` promises, from its own words.

python docs/make/reference.py > docs/reference.md
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prunebench

MISSING = dataclasses.MISSING


def page() -> str:
    """The page."""
    head = (
        "# The public face\n\nMade by `python docs/make/reference.py > docs/reference.md` from the code's own words. "
    )
    head += "Plugins and scripts import\nthese names from `prunebench`; everything else is private.\n"
    return "\n".join([head, *(section(name) for name in prunebench.__all__)])


def section(name: str) -> str:
    """One name of the face."""
    value = getattr(prunebench, name)
    if inspect.isclass(value):
        return of_class(name, value)
    if isinstance(value, types.ModuleType):
        return of_module(name, value)
    if inspect.isfunction(value):
        return f"## {name}\n\n{signature(name, value)}\n\n{said(value)}\n"
    if isinstance(value, str | int):
        return f"## {name}\n\n    {name} = {value!r}\n"
    return f"## {name}\n\nMarks a function of a plugin as one of prunebench's hooks: `@{name}` above `def methods()`.\n"


def of_class(name: str, cls: type[Any]) -> str:
    """A class: its words, fields, class variables and methods."""
    parts = [f"## {name}\n\n{said(cls)}\n"]
    for title, rows in (("Fields", list(fields(cls))), ("To set or to read", list(attributes(cls)))):
        if rows:
            parts.append(f"{title}:\n\n" + "\n".join(rows) + "\n")
    parts += [f"### {name}.{called}\n\n{shown}\n" for called, shown in methods(cls)]
    return "\n".join(parts)


def of_module(name: str, module: types.ModuleType) -> str:
    """A module of the face: its functions."""
    found = [
        (called, value)
        for called, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not called.startswith("_")
    ]
    parts = [f"### {name}.{called}\n\n{signature(called, value)}\n\n{said(value)}\n" for called, value in found]
    return "\n".join([f"## {name}\n\n{said(module)}\n", *parts])


def fields(cls: type[Any]) -> Iterator[str]:
    """A line per dataclass field: type, default, meaning, bounds, unit."""
    if not dataclasses.is_dataclass(cls):
        return
    for item in dataclasses.fields(cls):
        default = "" if item.default is MISSING else f" = {default_of(item.default)}"
        yield f"- `{item.name}: {kind_of(item.type)}{default}`{meaning(item.metadata)}"


def meaning(metadata: Any) -> str:
    """What `param` was told."""
    words = [str(metadata["doc"])] if metadata.get("doc") else []
    words += [f"{key.replace('_', ' ')} {metadata[key]:g}" for key in BOUNDS if metadata.get(key) is not None]
    words += [f"one of {', '.join(map(repr, metadata['choices']))}"] if metadata.get("choices") else []
    words += [f"in {metadata['unit']}"] if metadata.get("unit") else []
    return f": {'; '.join(words)}" if words else ""


BOUNDS = ("at_least", "above", "at_most", "below")


def attributes(cls: type[Any]) -> Iterator[str]:
    """A line per class variable or promised attribute, with the comment that stands beside it, and per property."""
    held = {item.name for item in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    for owner in reversed(ours(cls)):
        comments = comments_of(owner)
        for name, kind in vars(owner).get("__annotations__", {}).items():
            if name not in held and not name.startswith("_"):
                default = f" = {vars(owner)[name]!r}" if name in vars(owner) else ""
                comment = f": {comments[name]}" if comments.get(name) else ""
                yield f"- `{name}: {kind_of(kind)}{default}`{comment}"
        for name, value in vars(owner).items():
            if isinstance(value, property) and not name.startswith("_"):
                yield f"- `{name}` (read only): {' '.join(said(value).split())}"


def ours(cls: type[Any]) -> list[type[Any]]:
    """The class and its bases that prunebench defines."""
    return [owner for owner in cls.__mro__ if owner.__module__.startswith("prunebench")]


def comments_of(cls: type[Any]) -> dict[str, str]:
    """Name -> comment at the end of its line."""
    found = {}
    for line in inspect.getsource(cls).splitlines():
        code, sign, comment = line.partition("  # ")
        name, colon, _ = code.strip().partition(":")
        if sign and colon and name.isidentifier():
            found[name] = comment.strip()
    return found


def kind_of(kind: Any) -> str:
    """A type as the code writes it."""
    text = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    return text.removeprefix("ClassVar[").removesuffix("]") if text.startswith("ClassVar[") else text


def methods(cls: type[Any]) -> Iterator[tuple[str, str]]:
    """Name -> signature and words of each public method that prunebench defines."""
    found: dict[str, Any] = {}
    for owner in reversed(ours(cls)):
        found.update({name: value for name, value in vars(owner).items() if not name.startswith("_")})
    for name, value in found.items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if inspect.isfunction(function):
            yield name, f"{signature(name, function)}\n\n{said(function)}"


def signature(name: str, function: Any) -> str:
    """The call, as a block of code; a long one has a parameter a line."""
    told = inspect.signature(function)
    shown = list(parameters(told))
    back = "" if told.return_annotation is told.empty else f" -> {kind_of(told.return_annotation)}"
    text = f"{name}({', '.join(shown)}){back}"
    if len(text) > 110:
        text = "\n    ".join([f"{name}(", *(f"{item}," for item in shown)]) + f"\n){back}"
    return textwrap.indent(text, "    ")


def parameters(told: inspect.Signature) -> Iterator[str]:
    """Each parameter as the code writes it, with the star before those that must be named."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    is_named = False
    for item in told.parameters.values():
        if item.kind is inspect.Parameter.KEYWORD_ONLY and not is_named:
            yield "*"
        is_named = is_named or item.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL)
        kind = "" if item.annotation is item.empty else f": {kind_of(item.annotation)}"
        default = "" if item.default is item.empty else f" = {default_of(item.default)}"
        yield f"{stars.get(item.kind, '')}{item.name}{kind}{default}"


def default_of(value: Any) -> str:
    """A default; one that has no words in code is three dots."""
    text = f"Path({str(value)!r})" if isinstance(value, Path) else repr(value)
    return "..." if text.startswith("<") else text


def said(value: Any) -> str:
    """The words in the code."""
    return inspect.getdoc(value) or ""


if __name__ == "__main__":
    print(page().rstrip("\n"))
