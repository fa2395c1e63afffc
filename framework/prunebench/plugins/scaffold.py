"""A ready plugin package from the templates beside this file: it installs, passes the kit and runs as it is."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from prunebench import __version__
from prunebench.errors import PluginError
from prunebench.plugins.contracts import API_VERSION
from prunebench.plugins.kinds import KINDS, Kind

TEMPLATES = Path(__file__).parent / "templates"


def new_package(kind: str, name: str, into: Path) -> list[Path]:
    """The files written for a plugin called `name`, of a kind of KINDS; raises `PluginError` for a name or folder
    that will not do.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,50}", name):
        raise PluginError(f"{name!r} cannot be a package: use lowercase letters, digits and _, starting with a letter")
    root = into / f"prunebench-{name.replace('_', '-')}"
    if root.exists():
        raise PluginError(f"{root} already exists: choose another name or folder")
    words = {
        "name": name,
        "dash": name.replace("_", "-"),
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "kind": kind,
        "plugin": KINDS[kind].plugin_name(name),
        "grid": grid_of(KINDS[kind], name),
        "version": __version__,
        "api": str(API_VERSION),
        "packing": _packing(KINDS[kind], name),
    }
    written = []
    for source, target in _files(KINDS[kind], name):
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(source.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        written.append(path)
    return written


def grid_of(kind: Kind, name: str) -> str:
    """What `bench run --grid` is given to try the package: a paper is its own grid."""
    return kind.plugin_name(name) if kind.name == "paper" else "grid.toml"


def _packing(kind: Kind, name: str) -> str:
    return f'packages = ["prunebench_{name}"]' if kind.is_package else f'include = ["prunebench_{name}.py"]'


def _files(kind: Kind, name: str) -> list[tuple[Path, str]]:
    """Template -> where it goes; a kind that brings data is a package, the others are one module."""
    common = TEMPLATES / "common"
    files = [
        (path, str(path.relative_to(common)).removesuffix(".template"))
        for path in sorted(common.rglob("*"))
        if path.is_file()
    ]
    package = f"prunebench_{name}"
    for path in sorted((TEMPLATES / kind.template).iterdir()):
        file = path.name.removesuffix(".template")
        if file == "test.py":
            files.append((path, f"tests/test_{name}.py"))
        elif kind.is_package:
            files.append((path, f"{package}/{'__init__.py' if file == 'module.py' else file}"))
        else:
            files.append((path, f"{package}.py" if file == "module.py" else file))
    return files
