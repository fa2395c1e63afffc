"""A look over this machine: each check is green or says how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from prunebench.doctor import machine, software, storage
from prunebench.doctor.checks import Check
from prunebench.errors import PruneBenchError, said

__all__ = ["Check", "examine"]

Look = Callable[[], Iterator[Check]]


def examine(db: Path, *, noise: bool = True) -> Iterator[Check]:
    """The checks, as they are made; the noise floor takes a few seconds."""
    looks: list[tuple[str, Look, str]] = [
        ("python", software.python, "install it anew"),
        ("packages", software.packages, "pip install --force-reinstall prunebench"),
        ("torch", machine.torch_works, "pip install --force-reinstall torch"),
        ("devices", machine.devices, "see nvidia-smi, or use --devices cpu"),
        ("folder", lambda: storage.folder(db.parent), storage.ELSEWHERE),
        ("disk", lambda: storage.disk(db.parent), storage.ELSEWHERE),
        ("locks", lambda: storage.locks(db.parent), storage.ELSEWHERE),
        ("database", lambda: storage.database(db), storage.ELSEWHERE),
        ("plugins", software.plugins, "see bench plugins"),
        ("load", machine.load, ""),
        ("charts", software.charts, "pip install --force-reinstall vl-convert-python"),
    ]
    if noise:
        looks.append(("noise", machine.noise, "pip install --force-reinstall torch"))
    for name, look, fix in looks:
        yield from _guarded(name, look, fix)


def _guarded(name: str, look: Look, fix: str) -> Iterator[Check]:
    try:
        yield from look()
    except PruneBenchError as error:
        yield Check(name, "fault", said(error), fix)
    except Exception as error:  # the border: whatever is broken on this machine is a line, and the next look follows
        yield Check(name, "fault", f"{type(error).__name__}: {said(error, 300)}", fix)
