"""`registry.toml`: who publishes the plugin that is not installed. Data; discovery never reads it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from prunebench.errors import PluginError, did_you_mean
from prunebench.plugins.kinds import KINDS
from prunebench.records import NAME

DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9,_-]+\])?")
RANGE = re.compile(r"(==|>=|<=|!=|~=|<|>)\d+(\.\d+)*(,(==|>=|<=|!=|~=|<|>)\d+(\.\d+)*)*")


@dataclass(frozen=True)
class Entry:
    """One published plugin."""

    kind: str  # one of KINDS
    name: str
    distribution: str  # what pip installs, extras included
    summary: str
    tested: str = ""  # the range of prunebench versions it was tried with
    paper: str = ""
    homepage: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Registry:
    """The catalogue."""

    entries: tuple[Entry, ...] = ()

    def advice(self, kind: str, name: str) -> str:
        """`: pip install x` for a name that somebody publishes, otherwise empty."""
        for entry in self.entries:
            if entry.kind == kind and entry.name == name:
                return f"; it is published: pip install '{entry.distribution}'"
        return ""

    def advice_for(self, name: str) -> str:
        """`advice` for a name whose kind is not said."""
        return next(filter(None, (self.advice(kind, name) for kind in KINDS)), "")


def data_path(name: str) -> Path:
    """`registry.toml` or `grids`: inside the package in a wheel, at the repository's root in a checkout."""
    here = Path(__file__).parents[1]
    packed = here / "data" / name
    return packed if packed.exists() else here.parents[1] / name


def bundled_grids() -> dict[str, Path]:
    """The grids that came with prunebench, by name."""
    return {path.stem: path for path in sorted(data_path("grids").glob("*.toml"))}


@cache
def load_registry(path: Path | None = None) -> Registry:
    """The catalogue in `path`, by default the one that came with this prunebench."""
    path = path or data_path("registry.toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = msgspec.convert(table.get("plugin", []), tuple[Entry, ...])
    except FileNotFoundError:
        return Registry()
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PluginError(f"{path}: {error}") from None
    return Registry(entries)


def faults(path: Path) -> list[str]:
    """What is wrong with the catalogue in `path`, a line per fault; raises `PluginError` where it is no catalogue."""
    load_registry(path)
    rows: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8")).get("plugin", [])
    found = [f"entry {number} ({row['name']}): {fault}" for number, row in enumerate(rows, 1) for fault in _wrong(row)]
    return found + [f"{kind} {name} is listed {count} times" for kind, name, count in _doubled(rows)]


def _wrong(row: dict[str, Any]) -> Iterator[str]:
    known = [field.name for field in fields(Entry)]
    for key in row.keys() - set(known):
        yield f"unknown key {key!r}{did_you_mean(key, known) or '; allowed: ' + ', '.join(known)}"
    if row["kind"] not in KINDS:
        yield f"kind must be one of {', '.join(KINDS)}, got {row['kind']!r}"
    if not NAME.fullmatch(row["name"]):
        yield f"name must match {NAME.pattern}"
    if not DISTRIBUTION.fullmatch(row["distribution"]):
        yield f"distribution must be what pip installs, such as prunebench-gumbel, got {row['distribution']!r}"
    if not row["summary"].strip() or "\n" in row["summary"]:
        yield "summary must be one line"
    if row.get("tested") and not RANGE.fullmatch(row["tested"]):
        yield f"tested must be a range of versions such as >=0.1,<0.3, got {row['tested']!r}"
    for key in ("paper", "homepage"):
        if row.get(key) and not _is_link(row[key]):
            yield f"{key} must be an https:// link, got {row[key]!r}"


def _is_link(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme == "https" and "." in parts.netloc and not re.search(r"\s", text)


def _doubled(rows: Iterable[dict[str, Any]]) -> list[tuple[str, str, int]]:
    keys = [(row["kind"], row["name"]) for row in rows]
    return [(*key, keys.count(key)) for key in sorted(set(keys)) if keys.count(key) > 1]
