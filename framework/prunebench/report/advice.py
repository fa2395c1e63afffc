"""What an audit proposes, held to the planner: only grid lines that `bench plan` accepts are shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.errors import PruneBenchError
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.judging.audit import CURVE, Point, audit

if TYPE_CHECKING:
    from prunebench.plugins.discovery import Installed

DATASET, MODEL = "digits", "lenet5"  # what lines of methods are planned on, where these are installed
SHARES = [0.8, 0.5, 0.2, 0.1, 0.05]
COUNTS = [2, 3, 4, 6, 8]
DENSE_BLOCK = f'[[block]]\ndataset = "{DATASET}"\nmodel = "{MODEL}"\nmethod = "dense"'


def planned_audit(path: Path | str, run_id: str, installed: Installed | None = None) -> list[Point]:
    """The audit of a run, its advice planned with the installed plugins."""
    from prunebench.plugins.discovery import find_installed

    return planned(audit(path, run_id), installed or find_installed((), ()))


def planned(points: Sequence[Point], installed: Installed) -> list[Point]:
    """The points with advice that planning accepts; a line that it refuses is replaced, or left out with the reason."""
    return [replace(point, mend=_accepted(point.mend, installed)) if point.mend else point for point in points]


def _accepted(fix: str, installed: Installed) -> str:
    """The lines that plan, instead of the others; words that are no lines of a grid stay as they are."""
    if fix.startswith("[[block]]"):
        return _unless_refused(fix, f'{fix}\nmethod = "dense"', installed)
    return "\n".join(line for part in fix.splitlines() for line in _line(part, installed))


def _line(line: str, installed: Installed) -> Iterator[str]:
    if line.startswith("{ use ="):
        tried = list(_candidates(line, installed))
        refusals = [_refusal(_block(each), installed) for each in tried]
        fitting = [each for each, refused in zip(tried, refusals, strict=True) if not refused]
        yield fitting[0] if fitting else f"{_use(line)}: {_no_line(refusals[0])}"
    elif line.startswith(("latency =", "finetune =")):
        yield _unless_refused(line, f"[protocol]\n{line}\n{DENSE_BLOCK}", installed)
    elif line.startswith("seed ="):
        yield _unless_refused(line, f"{DENSE_BLOCK}\n{line}", installed)
    else:
        yield line


def _unless_refused(lines: str, grid: str, installed: Installed) -> str:
    """`lines`, or why planning refuses the grid that has them."""
    refused = _refusal(grid, installed)
    return _no_line(refused) if refused else lines


def _no_line(refused: str) -> str:
    return f"no line to show, planning refuses it: {refused}"


def _candidates(line: str, installed: Installed) -> Iterator[str]:
    """The line itself; of a curve by compression, also one by the method's first field, in shares and in counts."""
    yield line
    plugin = installed.of_kind("method").get(_use(line))
    fields = dataclasses.fields(plugin.cls) if plugin else ()
    if f"compression = {CURVE}" in line and fields:
        for values in (SHARES, COUNTS):
            yield f'{{ use = "{_use(line)}", {fields[0].name} = {values} }},'


def _use(line: str) -> str:
    return line.split('"')[1]


def _block(method: str) -> str:
    return f'[[block]]\ndataset = "{DATASET}"\nmodel = "{MODEL}"\nmethod = [{method.rstrip(",")}]'


def _refusal(text: str, installed: Installed) -> str:
    """Why planning refuses the grid, empty where it does not."""
    try:
        plan(Grid.parse(text, name="advice"), installed)
    except PruneBenchError as error:
        return (
            str(error)
            .removeprefix("advice: ")
            .removeprefix("block 1, method: ")
            .removeprefix("grid: block 1, method: ")
        )
    return ""
