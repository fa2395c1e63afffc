"""What code a plugin is made of: a result says so, and a changed algorithm is noticed where its version did not change.

A distribution that was installed for good has a version that says it all. An editable one, or a file, is edited between
two runs: there the modules count that a plugin's class is made of, its own and those of the same project that are
imported from there, on and on. They are read, not imported, so planning costs no import.
"""

from __future__ import annotations

import ast
import datetime
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from prunebench.plugins.discovery import Installed, Plugin
from prunebench.records import Trial

OURS = "prunebench"  # whose packages name all plugins in their __init__.py: a new one changes no other
EDITED = "edited while it was in use"


@dataclass
class Codes:
    """The code of the plugins that are installed, looked up once each; `loaded_at` is when this process imported them.

    In seconds since 1970, as files have it: what was edited since is not what runs here, and says so.
    """

    installed: Installed
    loaded_at: float | None = None
    known: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, kind: str, name: str) -> str:
        """`editable 0f3a…`, `file 0f3a…` or `distribution version`; empty where the plugin is not a single one."""
        if (kind, name) not in self.known:
            owners = self.installed.by_name.get((kind, name), [])
            self.known[kind, name] = self._of(owners[0]) if len(owners) == 1 else ""
        return self.known[kind, name]

    def of_trial(self, trial: Trial) -> dict[str, str]:
        """`kind:name` -> code, of every plugin that the trial's result depends on."""
        named = plugins_of(trial)
        for dataset in self.installed.by_name.get(("dataset", trial.dataset.use), [])[:1]:
            named.append(("objective", str(getattr(dataset.cls, "objective", ""))))
        found = {f"{kind}:{name}": self.of(kind, name) for kind, name in named}
        return {key: code for key, code in found.items() if code}

    def _of(self, plugin: Plugin) -> str:
        try:
            files = module_files(plugin)
            if not files:
                return plugin.source if plugin.version else ""
            code = f"{'file' if plugin.code else 'editable'} {_digest(files)}"
            return f"{code}, {EDITED}" if self.loaded_at is not None and _was_edited(files, self.loaded_at) else code
        except OSError:  # of a file that was there a moment ago
            return ""


def is_edited_in_place(code: str) -> bool:
    """Whether the code is that of an editable installation or of a file, which change without a new version."""
    return code.startswith(("editable ", "file "))


def changed(today: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """The plugins ("kind:name") whose code is known of both times and is not the same."""
    return [key for key, code in today.items() if then.get(key, code) != code]


def plugins_of(trial: Trial) -> list[tuple[str, str]]:
    """(kind, name) of all that decides the trial's result."""
    methods = trial.method.stages or (trial.method,)
    wanted = [("dataset", trial.dataset.use), ("model", trial.model.use)]
    return [*wanted, *(("method", m.use) for m in methods), *(("metric", name) for name in trial.protocol.metric_names)]


def now() -> float:
    """As files have it."""
    return datetime.datetime.now(datetime.UTC).timestamp()


def module_files(plugin: Plugin) -> dict[str, Path]:
    """Name -> path of the modules that the plugin's class is made of; empty for what is not edited in place."""
    module = sys.modules.get(plugin.cls.__module__)
    file = Path(getattr(module, "__file__", None) or "")
    if not file.is_file():
        return {}
    if plugin.code:
        return closure(file, file.stem, file.parent, with_packages=True)
    if not is_editable(plugin.distribution):
        return {}
    name = plugin.cls.__module__
    depth = name.count(".") + (file.name == "__init__.py")
    return closure(file, name, file.parents[depth], with_packages=plugin.distribution != OURS)


@cache
def is_editable(name: str) -> bool:
    """Whether the distribution was installed with `pip install -e`."""
    try:
        text = distribution(name).read_text("direct_url.json")
        return bool(text and json.loads(text).get("dir_info", {}).get("editable"))
    except (PackageNotFoundError, ValueError):
        return False


def closure(file: Path, name: str, base: Path, with_packages: bool) -> dict[str, Path]:
    """Name -> path of `file` (the module `name`) and of every module below `base` that is imported from there on.

    `with_packages` adds the `__init__.py` of packages that are passed on the way, without what those import.
    """
    found: dict[str, Path] = {}
    waiting = [(name, file)]
    while waiting:
        name, file = waiting.pop()
        if name in found:
            continue
        found[name] = file
        for wanted in _imports(file, name, base, file.stat().st_mtime_ns):
            if path := _path_of(wanted, base):
                waiting.append((wanted, path))
    if with_packages:
        for name in list(found):
            found |= {f"{package} (package)": path for package, path in _packages(name, base)}
    return found


def _packages(name: str, base: Path) -> Iterator[tuple[str, Path]]:
    parts = name.split(".")
    for count in range(1, len(parts)):
        path = base.joinpath(*parts[:count], "__init__.py")
        if path.is_file():
            yield ".".join(parts[:count]), path


def _path_of(name: str, base: Path) -> Path | None:
    """The file of module `name` below `base`; None where it is not a module of this project."""
    if not name:
        return None
    place = base.joinpath(*name.split("."))
    files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((path for path in files if path.is_file()), None)


@lru_cache(maxsize=4096)
def _imports(file: Path, name: str, base: Path, changed_at: int) -> tuple[str, ...]:
    """Modules that the file may import, wherever in it that is written; `changed_at` makes a new version another file.

    Of `from a import b`, `a.b` where that is a module, else `a`.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ()
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += _imported_from(node, package, base)
    return tuple(dict.fromkeys(found))


def _imported_from(node: ast.ImportFrom, package: str, base: Path) -> Iterator[str]:
    parts = package.split(".") if package else []
    start = parts[: len(parts) - node.level + 1] if node.level else []
    source = ".".join([*start, *(node.module.split(".") if node.module else [])])
    for alias in node.names:
        inner = f"{source}.{alias.name}" if source else alias.name
        yield inner if _path_of(inner, base) else source


def _digest(files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        data = path.read_bytes()
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def _was_edited(files: dict[str, Path], loaded_at: float) -> bool:
    """Whether a file was written between `loaded_at` and now; another clock's future is not believed."""
    return any(loaded_at < path.stat().st_mtime <= now() for path in files.values())
