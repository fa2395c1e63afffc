"""`registry.toml`: who publishes the plugin that is not installed. Data; discovery never reads it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from prunebench.errors import PluginError


@dataclass(frozen=True)
class Entry:
    """One published plugin."""

    kind: str  # "method", "model", "dataset" or "paper"
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


def data_path(name: str) -> Path:
    """`registry.toml` or `grids`: inside the package in a wheel, at the repository's root in a checkout."""
    here = Path(__file__).parent
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
