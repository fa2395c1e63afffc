"""The whole plugin API: a module named by an entry point of the group `prunebench` implements any of these hooks.

There is one hook per kind of plugin: `methods`, `models`, `datasets` and so on (`kinds.py`). Each takes nothing and
returns a list of classes, not of instances, so that the source of each plugin is known and a grid decides its
parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pluggy import HookimplMarker, HookspecMarker

from prunebench.plugins.kinds import KINDS, Kind

hookspec = HookspecMarker("prunebench")
hookimpl = HookimplMarker("prunebench")


def _specified(kind: Kind) -> Callable[[], list[type[Any]]]:
    """The hook of one kind, as pluggy wants it declared."""

    def hook() -> list[type[Any]]:
        raise NotImplementedError

    hook.__name__ = hook.__qualname__ = kind.hook
    hook.__doc__ = kind.about
    return hookspec(hook)


globals().update({kind.hook: _specified(kind) for kind in KINDS.values()})
