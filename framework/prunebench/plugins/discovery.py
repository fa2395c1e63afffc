"""Which plugins are installed: name -> class, whose, which version; and what failed to load and why.

Entry points of the group `prunebench` are loaded one by one, each in its own plugin manager: a broken one is a line,
never a crash, and two distributions that claim one name are refused only by a grid that uses it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from prunebench.errors import PluginError, did_you_mean
from prunebench.plugins import hookspecs
from prunebench.plugins.contracts import API_VERSION
from prunebench.plugins.kinds import KINDS
from prunebench.plugins.loading import Broken, file_hash, loaded, module_from
from prunebench.records import NAME

GROUP = "prunebench"


@dataclass(frozen=True)
class Plugin:
    """One class that a plugin brings."""

    kind: str  # a name of KINDS
    name: str
    cls: type[Any]
    distribution: str  # or the file's path
    version: str  # or the file's hash
    code: str = ""  # hash of the file, for a plugin loaded from one

    @property
    def source(self) -> str:
        """`distribution version`, as provenance records it."""
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class Installed:
    """Everything that was found."""

    plugins: tuple[Plugin, ...] = ()
    broken: tuple[Broken, ...] = ()
    warnings: tuple[str, ...] = ()
    by_name: dict[tuple[str, str], list[Plugin]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> dict[str, Plugin]:
        """The plugins of one kind that have a single owner, by name."""
        return {name: owners[0] for (k, name), owners in self.by_name.items() if k == kind and len(owners) == 1}

    def find(self, kind: str, name: str, advice: str = "") -> Plugin:
        """The plugin of that name; raises `PluginError` where there is none (`advice` is added) or several."""
        owners = self.by_name.get((kind, name), [])
        if len(owners) == 1:
            return owners[0]
        if owners:
            whose = " and ".join(sorted(owner.source for owner in owners))
            raise PluginError(f"{kind} {name!r} is claimed by {whose}: uninstall or disable one (--disable-plugin)")
        known = sorted(n for k, n in self.by_name if k == kind)
        hint = did_you_mean(name, known) or f"; installed: {', '.join(known) or 'none'}"
        raise PluginError(f"no {kind} {name!r} is installed{hint}{advice}")

    @property
    def clashes(self) -> list[list[Plugin]]:
        """Names that several distributions claim."""
        return [owners for owners in self.by_name.values() if len(owners) > 1]

    def named(self, kind: str, name: str, cls: type[Any], code: str = "") -> Installed:
        """The same with one class more, for tests and scripts; `code` is the hash of what it is made of."""
        plugin = Plugin(kind, name, cls, "here", code, code)
        return _gathered([*self.plugins, plugin], list(self.broken), list(self.warnings))


def find_installed(files: Iterable[str | Path] = (), disabled: Iterable[str] = ()) -> Installed:
    """All plugins of the environment, and those in `files` (single modules); `disabled` names entry points to skip:
    by their name, their distribution, or `distribution:name` where that is not enough.

    The environment variable PRUNEBENCH_DISABLE_PLUGINS adds to `disabled` (comma-separated; `all` skips every one).
    """
    skipped = {*disabled, *filter(None, os.environ.get("PRUNEBENCH_DISABLE_PLUGINS", "").split(","))}
    plugins: list[Plugin] = []
    broken: list[Broken] = []
    warnings: list[str] = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        name, distribution, version = _owner(point)
        if not skipped & {"all", name, distribution, f"{distribution}:{name}"}:
            _load(lambda p=point: p.load(), name, distribution, version, "", plugins, broken, warnings)
    for path in files:
        code = file_hash(Path(path))
        _load(
            lambda p=path, c=code: module_from(Path(p), c),
            Path(path).name,
            str(path),
            code,
            code,
            plugins,
            broken,
            warnings,
        )
        if broken and broken[-1].distribution == str(path):
            inside = broken[-1].name.removeprefix(Path(path).name)  # ": Class" where one class is at fault
            raise PluginError(f"{path}{inside}: {broken[-1].reason}")
    return _gathered(plugins, broken, warnings)


def _gathered(plugins: list[Plugin], broken: list[Broken], warnings: list[str]) -> Installed:
    by_name: dict[tuple[str, str], list[Plugin]] = {}
    for plugin in plugins:
        owners = by_name.setdefault((plugin.kind, plugin.name), [])
        if all(owner.cls is not plugin.cls for owner in owners):
            owners.append(plugin)
    return Installed(tuple(plugins), tuple(broken), tuple(warnings), by_name)


def _owner(point: EntryPoint) -> tuple[str, str, str]:
    dist = point.dist
    return point.name, dist.name if dist else "?", dist.version if dist else ""


def _load(
    load: Any,
    name: str,
    distribution: str,
    version: str,
    code: str,
    plugins: list[Plugin],
    broken: list[Broken],
    warnings: list[str],
) -> None:
    """Import one plugin and gather its classes; whatever goes wrong is a line in `broken`."""
    classes, has_printed, why = loaded(lambda: list(_classes(load())), f"{distribution}:{name}")
    if why:
        broken.append(Broken(name, distribution, version, why))
        return
    if has_printed:
        warnings.append(f"plugin {name} ({distribution}) prints while it is imported")
    for kind, cls in classes:
        fault = class_fault(cls, KINDS[kind].base)
        if fault:
            broken.append(Broken(f"{name}: {getattr(cls, '__name__', cls)!s}", distribution, version, fault))
        else:
            plugins.append(Plugin(kind, cls.name, cls, distribution, version, code))


def _classes(module: Any) -> Iterator[tuple[str, Any]]:
    """The classes that the module's hooks return, with their kind."""
    manager = pluggy.PluginManager("prunebench")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    _require_known_hooks(manager, module)
    found = False
    for kind in KINDS.values():
        for classes in getattr(manager.hook, kind.hook)():
            found = True
            for cls in classes:
                yield kind.name, cls
    if not found:
        hooks = ", ".join(f"{kind.hook}()" for kind in KINDS.values())
        raise PluginError(f"registers no plugins: define one of {hooks} and mark it with @hookimpl")


def _require_known_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """Raise PluginError naming a function that is marked as a hook and is none."""
    hooks = [kind.hook for kind in KINDS.values()]
    for name in dir(module):
        if manager.parse_hookimpl_opts(module, name) is not None and name not in hooks:
            hint = did_you_mean(name, hooks) or f"; hooks: {', '.join(hooks)}"
            raise PluginError(f"unknown hook {name!r}{hint}")


def _is_subclass(cls: Any, base: type[Any]) -> bool:
    return isinstance(cls, type) and issubclass(cls, base)


def class_fault(cls: Any, base: type[Any]) -> str:
    """Why `cls` cannot serve as a plugin class, empty when it can."""
    if not _is_subclass(cls, base):
        return f"the hook must return subclasses of {base.__name__}, got {cls!r}"
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"name = {name!r} is not allowed: use {NAME.pattern}"
    if not isinstance(cls.api_version, int) or cls.api_version < 1:
        return f"api_version must be a whole number from 1 on, got {cls.api_version!r}"
    if cls.api_version > API_VERSION:
        return f"needs plugin API {cls.api_version}, this prunebench has {API_VERSION}: upgrade prunebench"
    if getattr(cls, "__abstractmethods__", None):
        return f"does not define {', '.join(sorted(cls.__abstractmethods__))}()"
    fields = {item.name for item in dataclasses.fields(cls)}
    missing = [n for n in vars(base).get("__annotations__", {}) if not hasattr(cls, n) and n not in fields]
    if missing:
        return f"is missing the class attribute {', '.join(missing)}"
    own_fields = [n for n in cls.__dict__.get("__annotations__", {}) if n not in vars(base).get("__annotations__", {})]
    if own_fields and "__dataclass_fields__" not in cls.__dict__:
        return f"has the fields {', '.join(own_fields)} but is not a @dataclass(frozen=True)"
    for name in sorted(fields & {"use", "seed", "pipeline"}):
        return f"a field may not be called {name!r}: grids use that word"
    return ""
