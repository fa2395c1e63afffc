"""Importing one plugin whatever its module does: prints, exits, raises, sleeps for an hour."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.errors import PluginError, said
from prunebench.records import short_hash

IMPORT_LIMIT_SECONDS = float(os.environ.get("PRUNEBENCH_IMPORT_LIMIT", "30"))
NOTICE_SECONDS = 3.0  # after so long whoever waits is told for what
TICK_SECONDS = 1.0

_folders: set[Path] = set()  # of plugin files, whose modules these may import
_given_up: dict[str, str] = {}  # entry -> why: what took too long once is not waited for again in this process


@dataclass(frozen=True)
class Broken:
    """An entry point, file or class that could not be used, and why in one line."""

    name: str
    distribution: str
    version: str
    reason: str

    @property
    def entry(self) -> str:
        """What skips this entry point and nothing else: `--disable-plugin distribution:name`."""
        return f"{self.distribution}:{self.name}"


class TooSlow(BaseException):
    """Raised inside an import that takes too long; a plugin's own `except Exception` does not stop it."""


def loaded(load: Callable[[], Any], entry: str) -> tuple[Any, bool, str]:
    """What `load` returns, whether it printed, and in one line why it failed (empty when it did not)."""
    if entry in _given_up:
        return None, False, _given_up[entry]
    try:
        with _quiet() as printed, _time_limit(entry, IMPORT_LIMIT_SECONDS):
            result = load()
        return result, bool(printed.getvalue().strip()), ""
    except KeyboardInterrupt:
        raise
    except TooSlow:
        why = f"its import takes longer than {IMPORT_LIMIT_SECONDS:g} s: --disable-plugin {entry} skips it at once"
        _given_up[entry] = why
        return None, False, why
    except BaseException as error:  # the border: a plugin's import may raise anything, SystemExit included
        return None, False, _one_line(error)


def file_hash(path: Path) -> str:
    """The version of a plugin that is a file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise PluginError(f"plugin file {path} cannot be read: {error.strerror}") from None


def module_from(path: Path, code: str) -> types.ModuleType:
    """The module in `path`, whose hash is `code`; imported once."""
    name = f"prunebench_file_{path.stem.replace('-', '_')}_{code}"
    if name in sys.modules and sys.modules[name].__file__ != str(path):  # another file of the same text
        name += f"_{short_hash(str(path))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    reachable_beside(path)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def reachable_beside(path: Path) -> None:
    """Let a plugin file import the modules beside it, last of all; raises `PluginError` for a name taken by another.

    Python knows one module of a name: with files of two folders the second would get the first one's helper.
    """
    folder = path.absolute().parent
    for other in _folders - {folder}:
        for name in {file.stem for file in folder.glob("*.py")} & sys.modules.keys():
            if Path(getattr(sys.modules[name], "__file__", None) or "") == other / f"{name}.py":
                raise PluginError(f"{path}: {name} is imported from {other} already: rename one of the two modules")
    _folders.add(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _one_line(error: BaseException) -> str:
    name, text = type(error).__name__, said(error, 300)
    if isinstance(error, SystemExit):
        return f"calls sys.exit({'' if text == name else text}) while it is imported"
    return text if isinstance(error, PluginError) or text == name else f"{name}: {text}"


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """What a plugin prints at import stays out of machine-readable output."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield printed


@contextlib.contextmanager
def _time_limit(entry: str, limit: float) -> Iterator[None]:
    """Raise TooSlow in this thread after `limit` seconds; does nothing off the main thread."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    started = time.monotonic()
    told: list[str] = []

    def tick(*_: object) -> None:
        if time.monotonic() - started >= limit:
            raise TooSlow
        if not told:
            told.append(entry)
            print(f"bench: plugin {entry} is still being imported, for at most {limit:g} s", file=sys.stderr)

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, min(limit, NOTICE_SECONDS), min(limit, TICK_SECONDS))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
