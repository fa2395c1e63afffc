"""`check_dataset`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from prunebench import samples
from prunebench.errors import DataError
from prunebench.plugins.contracts import Dataset, Objective
from prunebench.plugins.discovery import find_installed
from prunebench.records import Value
from prunebench.splits import Split, Splits
from prunebench.testing.findings import (
    Finding,
    class_findings,
    documentation_findings,
    instance_or_findings,
    located,
)
from prunebench.trial.data import data_faults

SHAPES = ((1, 12, 12), (3, 16, 16))


def check_dataset(
    cls: type[Dataset], settings: Mapping[str, Value] | None = None, folder: Path | None = None
) -> list[Finding]:
    """Findings about a data set in `folder`; without its data, only the class and its settings are checked."""
    findings = class_findings(cls, "dataset")
    if findings:
        return findings
    findings += documentation_findings(cls)
    dataset, faults = instance_or_findings(cls, dict(settings or {}))
    if faults:
        return findings + faults
    with tempfile.TemporaryDirectory() as temporary:
        return findings + _loaded_findings(dataset, folder or Path(temporary))


def untried(cls: type[Dataset], settings: Mapping[str, Value] | None = None, folder: Path | None = None) -> list[str]:
    """What `check_dataset` could not try, a line each: everything about the data, where they are not there."""
    dataset, faults = instance_or_findings(cls, dict(settings or {}))
    if faults:
        return ["load, its splits and their values: there is no instance"]
    try:
        with tempfile.TemporaryDirectory() as temporary:
            is_here = bool(dataset.available(folder or Path(temporary)))
    except Exception:  # check_dataset says what it raised
        return []
    where = f"in {folder}" if folder else "(no --data-dir)"
    return [] if is_here else [f"load, its splits and their values: available() says the data is not there {where}"]


def _loaded_findings(dataset: Dataset, folder: Path) -> list[Finding]:
    try:
        if not dataset.available(folder):
            return []
    except Exception as error:
        return [Finding("available", f"raised {located(error)}", "return True or False")]
    findings = _named_findings(dataset)
    try:
        shapes = _shapes(dataset, folder)
        loaded = [dataset.load(shape, folder) for shape in shapes]
        again = dataset.load(shapes[0], folder)
    except DataError as error:
        return [*findings, Finding("available", f"available() says yes, load says: {error}", "make the two agree")]
    except Exception as error:
        return [*findings, Finding("load", f"raised {located(error)}", "raise DataError with the fix")]
    faults = [fault for splits, shape in zip(loaded, shapes, strict=True) for fault in data_faults(splits, shape)]
    findings += dict.fromkeys(Finding(fault.check, fault.seen, fault.fix) for fault in faults)
    if any(fault.is_error for fault in faults):
        return findings
    if not findings and _digest(loaded[0].test) != _digest(again.test):
        findings.append(Finding("determinism", "two loads gave other test samples", "split by a fixed seed"))
    return [*findings, *_overlap_findings(loaded[0])]


def _named_findings(dataset: Dataset) -> list[Finding]:
    beside = type(dataset).load.__globals__.values()  # one file may bring both
    own = {
        getattr(thing, "name", "")
        for thing in beside
        if isinstance(thing, type) and issubclass(thing, Objective) and thing is not Objective
    }
    if dataset.objective in own or dataset.objective in find_installed().of_kind("objective"):
        return []
    known = ", ".join(find_installed().of_kind("objective"))
    return [Finding("objective", f"{dataset.objective!r} is not installed", f"name one of {known}, or bring it")]


def _shapes(dataset: Dataset, folder: Path) -> tuple[tuple[int, ...] | None, ...]:
    """Two shapes of images where the data can be loaded in them, else the data's own."""
    try:
        loaded = dataset.load(SHAPES[0], folder)
    except DataError:
        return (None,)
    return (None,) if _is_table(loaded) else SHAPES


def _is_table(loaded: object) -> bool:
    """Whether inputs are rows (B, F), which need not heed a shape of images."""
    try:
        inputs = loaded.train.head(1)[0]  # type: ignore[attr-defined]
        return isinstance(inputs, torch.Tensor) and inputs.ndim == 2
    except Exception:  # what is wrong is found later, with its name
        return False


def _rows(split: Split) -> set[str]:
    inputs, _ = split.head(500)
    count = samples.count(inputs)
    found = [samples.leaves(samples.rows(inputs, place)) for place in range(count)]
    return {hashlib.sha256(b"".join(leaf.numpy().tobytes() for leaf in row)).hexdigest() for row in found}


def _digest(split: Split) -> str:
    return hashlib.sha256("".join(sorted(_rows(split))).encode()).hexdigest()


def _overlap_findings(splits: Splits) -> list[Finding]:
    shared = len(_rows(splits.train) & _rows(splits.test))
    if shared > len(splits.test) // 20:
        return [Finding("overlap", f"{shared} of the first samples are in train and test", "split without overlap")]
    return []
