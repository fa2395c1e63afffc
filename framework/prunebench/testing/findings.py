"""A finding of the kit, and the checks that all kinds of plugins share."""

from __future__ import annotations

import dataclasses
import inspect
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.errors import PlanError, said
from prunebench.plugins.discovery import class_fault
from prunebench.plugins.kinds import KINDS
from prunebench.plugins.parameters import complete, create, field_types

OURS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Finding:
    """One fault of a plugin: the check's name, what was seen, and how to fix it."""

    check: str
    seen: str
    mend: str

    def __str__(self) -> str:
        return f"{self.check}: {self.seen}; {self.mend}"


def located(error: BaseException) -> str:
    """`KeyError: 'x' (plugin.py:12)`: the error, and the deepest line that is neither ours nor a library's."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        is_library = "site-packages" in frame.filename or Path(frame.filename).is_relative_to(OURS)
        if not is_library and not frame.filename.startswith("<"):
            place = f" ({frame.filename}:{frame.lineno})"
    return f"{type(error).__name__}: {said(error, 200)}{place}"


def class_findings(cls: Any, kind: str) -> list[Finding]:
    """Faults of the class itself. With any of these, nothing else can be tried."""
    fault = class_fault(cls, KINDS[kind].base)
    if fault:
        return [Finding("class", fault, "fix the class")]
    if not getattr(cls, "__dataclass_params__", None) or not cls.__dataclass_params__.frozen:
        return [Finding("class", "is not a frozen dataclass", "add @dataclass(frozen=True)")]
    try:
        field_types(cls)
    except PlanError as error:
        return [Finding("class", str(error), "use types that can be resolved where the class stands")]
    return []


def documentation_findings(cls: Any) -> list[Finding]:
    """Findings about docstrings, meanings and bounds, which `bench plugins show` prints."""
    findings = []
    if not inspect.cleandoc(cls.__dict__.get("__doc__") or "") or (cls.__doc__ or "").startswith(f"{cls.__name__}("):
        findings.append(Finding("documentation", "the class has no docstring", "say in one line what it is"))
    for item in dataclasses.fields(cls):
        if not item.metadata.get("doc"):
            fix = 'give it one: param(default, "what it means")'
            findings.append(Finding("documentation", f"field {item.name} has no meaning", fix))
        if _is_unbounded(cls, item):
            fix = "param(default, doc, at_least=…, above=…, at_most=… or below=…)"
            findings.append(Finding("bounds", f"field {item.name} is a number without bounds", fix))
    return findings


def _is_unbounded(cls: Any, item: dataclasses.Field[Any]) -> bool:
    kind = field_types(cls)[item.name]
    kinds = getattr(kind, "__args__", ()) or (kind,)
    is_number = any(k in (int, float) for k in kinds)
    keys = ("at_least", "above", "at_most", "below")
    return is_number and not item.metadata.get("choices") and all(item.metadata.get(key) is None for key in keys)


def instance_or_findings(cls: Any, params: dict[str, Any]) -> tuple[Any, list[Finding]]:
    """An instance with `params` and defaults, or None and the reasons why there is none."""
    try:
        return create(cls, complete(cls, params)), []
    except PlanError as error:
        fix = "give every field a default that works, or give the kit settings that do"
        return None, [Finding("defaults", str(error), fix)]
