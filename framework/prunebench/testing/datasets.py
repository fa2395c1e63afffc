"""`check_dataset`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from prunebench.errors import DataError
from prunebench.plugins.contracts import Dataset
from prunebench.records import Value
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
    try:
        loaded = [dataset.load(shape, folder) for shape in SHAPES]
        again = dataset.load(SHAPES[0], folder)
    except DataError as error:
        return [Finding("available", f"available() says yes, load says: {error}", "make the two agree")]
    except Exception as error:
        return [Finding("load", f"raised {type(error).__name__}: {error}", "raise DataError with the mend")]
    findings = [f for splits, shape in zip(loaded, SHAPES, strict=True) for f in _splits_findings(splits, shape)]
    if not findings and _digest(loaded[0].test) != _digest(again.test):
        findings.append(Finding("determinism", "two loads gave other test samples", "split by a fixed seed"))
    return [*findings, *_overlap_findings(loaded[0])]


def _splits_findings(splits: Splits, shape: tuple[int, int, int]) -> list[Finding]:
    findings = []
    for name, split in (("train", splits.train), ("validation", splits.validation), ("test", splits.test)):
        if len(split) == 0:
            findings.append(Finding("splits", f"{name} is empty", "every split needs samples"))
            continue
        images, labels = split.head(64)
        if tuple(images.shape[1:]) != shape or images.dtype != torch.float32:
            seen = f"{name} has {images.dtype} {tuple(images.shape[1:])} instead of float32 {shape}"
            findings.append(Finding("shape", seen, "resize to input_shape and return float32"))
        if labels.dtype != torch.int64 or int(labels.min()) < 0 or int(labels.max()) >= splits.class_count:
            findings.append(Finding("labels", f"{name} has labels outside [0, {splits.class_count})", "int64 labels"))
    if not splits.fingerprint:
        findings.append(Finding("fingerprint", "is empty", "hash the data itself"))
    return findings


def _rows(split: Split) -> set[str]:
    images, _ = split.head(500)
    return {hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images}


def _digest(split: Split) -> str:
    return hashlib.sha256("".join(sorted(_rows(split))).encode()).hexdigest()


def _overlap_findings(splits: Splits) -> list[Finding]:
    shared = len(_rows(splits.train) & _rows(splits.test))
    if shared > len(splits.test) // 20:
        return [Finding("overlap", f"{shared} of the first samples are in train and test", "split without overlap")]
    return []
