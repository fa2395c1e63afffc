"""A plugin that works, as source, and entry points that run what they are given."""

from __future__ import annotations

import sys
import types

GOOD = """
from dataclasses import dataclass
from prunebench import Method, hookimpl

@dataclass(frozen=True)
class Mine(Method):
    name = "mine"
    share: float = 0.5

    def prune(self, network, task):
        return network

@hookimpl
def methods():
    return [Mine]
"""


class Point:
    """An entry point that runs `source` when it is loaded."""

    def __init__(self, name: str, source: str, distribution: str = "prunebench-test") -> None:
        self.name, self.value, self.source = name, name, source
        self.dist = types.SimpleNamespace(name=distribution, version="1.2")

    def load(self) -> types.ModuleType:
        module = types.ModuleType(f"point_{self.name}")
        sys.modules[module.__name__] = module
        exec(self.source, module.__dict__)
        return module
