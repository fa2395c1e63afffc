"""`package.module:function` as a grid names it: found without importing it, hashed, then imported and called.

A module is looked for where Python finds it and then below the current folder, from which `bench` was started; a file
is named by its path, `networks/mine.py:build`.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from prunebench.errors import PluginError, did_you_mean, said
from prunebench.plugins.code import closure
from prunebench.plugins.loading import loaded, module_from, reachable_beside
from prunebench.records import short_hash
from prunebench.writing import file_sha256

FORM = re.compile(r"(?P<module>[^:]+):(?P<name>[A-Za-z_][A-Za-z0-9_.]*)")
PACKAGES = ("site-packages", "dist-packages")  # folders of what pip installed, which has a version

_imported: dict[str, str] = {}  # a target's module -> its code when this process imported it


@dataclass(frozen=True)
class Target:
    """A function or class that a grid names by `package.module:function`, or by `folder/file.py:function`.

    Methods raise `PluginError` (`check` raises `ValueError`) with one line that says what is wrong.
    """

    text: str

    def check(self) -> None:
        """Raise ValueError where the text is no target, its module is not there, or does not define the name.

        Nothing is imported: the module's text is read.
        """
        try:
            defined = sorted(_defined(self.file))
        except PluginError as error:
            raise ValueError(str(error)) from None
        first = self._name.partition(".")[0]
        if "*" not in defined and "__getattr__" not in defined and first not in defined:
            hint = did_you_mean(first, defined)
            raise ValueError(f"{self.file} defines no {first!r}{hint or ': ' + (', '.join(defined) or 'nothing')}")

    @property
    def file(self) -> Path:
        """The module's file."""
        return self._place[0]

    def code(self, *files: str | Path) -> str:
        """A hash of the module, of the modules of its project that it imports, and of `files`, weights for one.

        For a package that is not installed as editable, the version stands for the text.
        """
        parts = [self._name, self._module_code(), *(_file_hash(Path(file)) for file in files)]
        return short_hash("\n".join(parts))

    def call(self, arguments: Mapping[str, Any], **offered: Any) -> Any:
        """What the function returns for `arguments` and those of `offered` that it has parameters for."""
        function = self.found()
        known: Mapping[str, Any] = {}
        with contextlib.suppress(TypeError, ValueError):  # some functions that are not written in Python have none
            known = inspect.signature(function).parameters
        given = {**{name: value for name, value in offered.items() if name in known}, **arguments}
        if known:
            try:
                inspect.signature(function).bind(**given)
            except TypeError as error:
                raise PluginError(f"{self.text} does not take these arguments: {error}") from None
        try:
            return function(**given)
        except Exception as error:  # the border: a function of somebody's own may raise anything
            raise PluginError(f"{self.text} raised {type(error).__name__}: {said(error, 300)}") from error

    def found(self) -> Any:
        """The function or class, imported; raises `PluginError` where that fails or it cannot be called."""
        found = self._module()
        for part in self._name.split("."):
            if not hasattr(found, part):
                hint = did_you_mean(part, vars(found) if hasattr(found, "__dict__") else ())
                raise PluginError(f"{self.text}: {self.file} has no {part!r}{hint}")
            found = getattr(found, part)
        if not callable(found):
            raise PluginError(f"{self.text} is a {type(found).__name__}: name a function or a class")
        return found

    @property
    def _name(self) -> str:
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[str, str]:
        match = FORM.fullmatch(self.text)
        if not match:
            raise PluginError(f"target {self.text!r} is not written as package.module:function or file.py:function")
        return match["module"], match["name"]

    @cached_property
    def _place(self) -> tuple[Path, str, Path]:
        """The module's file, its name, and the folder below which that name is looked up."""
        module = self._parts[0]
        if module.endswith(".py"):
            path = Path(module).absolute()
            if not path.is_file():
                raise PluginError(f"target {self.text!r}: there is no file {path}")
            return path, path.stem, path.parent
        if not all(part.isidentifier() for part in module.split(".")):
            raise PluginError(f"target {self.text!r}: {module!r} is not a module's name: write package.module:function")
        for base in _bases():
            for path in _files(base, module):
                return path, module, base
        raise PluginError(
            f"target {self.text!r}: no module {module} on Python's path or below {Path.cwd()}: start bench in the "
            "folder that holds it, or name its file, folder/file.py:function"
        )

    def _module_code(self) -> str:
        file, name, base = self._place
        if any(part in PACKAGES for part in base.parts):
            top = name.partition(".")[0]
            owners = packages_distributions().get(top, [])
            return " ".join([top, *(f"{owner} {version(owner)}" for owner in owners)])
        digest = hashlib.sha256()
        try:
            for inner, path in sorted(closure(file, name, base, with_packages=True).items()):
                data = path.read_bytes()
                digest.update(f"{inner} {len(data)}\n".encode())
                digest.update(data)
        except OSError as error:
            raise PluginError(f"target {self.text!r}: {error.filename} cannot be read: {error.strerror}") from None
        return digest.hexdigest()

    def _module(self) -> Any:
        """Imported once; a process that has another version of it in memory says so."""
        file, name, base = self._place
        code = self._module_code()
        if _imported.setdefault(str(file), code) != code:
            raise PluginError(f"{file} was edited after this process imported it: start again")
        is_path = self._parts[0].endswith(".py")
        module, _, why = loaded(
            lambda: module_from(file, code[:16]) if is_path else _import(file, name, base), self.text
        )
        if why:
            del _imported[str(file)]
            raise PluginError(f"{self.text} cannot be imported: {why}")
        return module


def _bases() -> Iterator[Path]:
    seen = set()
    for entry in (*(entry for entry in sys.path if entry), "."):
        base = Path(entry).absolute()
        if base.is_dir() and base not in seen:
            seen.add(base)
            yield base


def _files(base: Path, module: str) -> Iterator[Path]:
    place = base.joinpath(*module.split("."))
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if path.is_file():
            yield path


def _import(file: Path, name: str, base: Path) -> Any:
    if not any(Path(entry or ".").absolute() == base for entry in sys.path):
        reachable_beside(file if "." not in name else base / name.partition(".")[0])
    module = importlib.import_module(name)
    where = getattr(module, "__file__", None)
    if where is None or Path(where).resolve() != file.resolve():
        raise PluginError(f"Python has another module {name} in memory, of {where}: rename one, or name the file")
    return module


def _defined(file: Path) -> set[str]:
    """Names that the module binds at its top, also under conditions; `*` where it imports all of another one."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise PluginError(f"{file} is not Python: {said(error, 200)}") from None
    except OSError as error:
        raise PluginError(f"{file} cannot be read: {error.strerror}") from None
    return set(_bound(tree.body))


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        else:
            yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
            yield from (n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef))
            yield from (a.asname or a.name for n in ast.walk(node) if isinstance(n, ast.ImportFrom) for a in n.names)


def _file_hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
