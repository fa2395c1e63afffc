"""`check_dataset`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from prunebench import samples
from prunebench.errors import DataError
from prunebench.plugins.contracts import Dataset
from prunebench.plugins.discovery import find_installed
from prunebench.records import Value
from prunebench.samples import Tree
from prunebench.splits import Split, Splits
from prunebench.testing.findings import Finding, class_findings, documentation_findings, instance_or_findings

SHAPES = ((1, 12, 12), (3, 16, 16))


def check_dataset(
    cls: type[Dataset], settings: Mapping[str, Value] | None = None, folder: Path | None = None
) -> list[Finding]:
    """Findings about a data set; one that is not at hand is tried only as far as its message."""
    findings = class_findings(cls, "dataset")
    if findings:
        return findings
    findings += documentation_findings(cls)
    dataset, faults = instance_or_findings(cls, dict(settings or {}))
    if faults:
        return findings + faults
    with tempfile.TemporaryDirectory() as temporary:
        return findings + _loaded_findings(dataset, folder or Path(temporary))


def _loaded_findings(dataset: Dataset, folder: Path) -> list[Finding]:
    if not dataset.available(folder):
        return []
    findings = _named_findings(dataset)
    try:
        shapes = _shapes(dataset, folder)
        loaded = [dataset.load(shape, folder) for shape in shapes]
        again = dataset.load(shapes[0], folder)
    except DataError as error:
        return [*findings, Finding("available", f"available() says yes, load says: {error}", "make the two agree")]
    except Exception as error:
        return [*findings, Finding("load", f"raised {type(error).__name__}: {error}", "raise DataError with the fix")]
    findings += [f for splits, shape in zip(loaded, shapes, strict=True) for f in _splits_findings(splits, shape)]
    if not findings and _digest(loaded[0].test) != _digest(again.test):
        findings.append(Finding("determinism", "two loads gave other test samples", "split by a fixed seed"))
    return [*findings, *_overlap_findings(loaded[0])]


def _named_findings(dataset: Dataset) -> list[Finding]:
    if dataset.objective in find_installed().of_kind("objective"):
        return []
    known = ", ".join(find_installed().of_kind("objective"))
    return [Finding("objective", f"{dataset.objective!r} is not installed", f"name one of {known}, or bring it")]


def _shapes(dataset: Dataset, folder: Path) -> tuple[tuple[int, ...] | None, ...]:
    """Two shapes of images where the data can be had as such, else the data's own."""
    try:
        dataset.load(SHAPES[0], folder)
    except DataError:
        return (None,)
    return SHAPES


def _splits_findings(splits: Splits, shape: tuple[int, ...] | None) -> list[Finding]:
    findings = []
    for name, split in (("train", splits.train), ("validation", splits.validation), ("test", splits.test)):
        if len(split) == 0:
            findings.append(Finding("splits", f"{name} is empty", "every split needs samples"))
            continue
        inputs, targets = split.head(64)
        findings += _samples_findings(name, inputs, targets, shape)
        findings += _labels_findings(name, targets, splits.class_count)
    if splits.class_count is None and splits.outputs is None:
        findings.append(Finding("outputs", "says neither class_count nor outputs", "Splits(…, outputs=1)"))
    if not splits.fingerprint:
        findings.append(Finding("fingerprint", "is empty", "hash the data itself"))
    return findings


def _samples_findings(name: str, inputs: Tree, targets: Tree, shape: tuple[int, ...] | None) -> list[Finding]:
    if samples.count(inputs) != samples.count(targets):
        seen = f"{name} has {samples.shapes(inputs)} against {samples.shapes(targets)}"
        return [Finding("samples", seen, "one target for every input")]
    if shape and (tuple(inputs.shape[1:]) != shape or inputs.dtype != torch.float32):
        seen = f"{name} has {inputs.dtype} {tuple(inputs.shape[1:])} instead of float32 {shape}"
        return [Finding("shape", seen, "resize to input_shape and return float32")]
    return []


def _labels_findings(name: str, labels: Tree, class_count: int | None) -> list[Finding]:
    if class_count is None:
        return []
    if labels.dtype != torch.int64 or int(labels.min()) < 0 or int(labels.max()) >= class_count:
        return [Finding("labels", f"{name} has labels outside [0, {class_count})", "int64 labels")]
    return []


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
