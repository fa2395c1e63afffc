"""Whether a loaded data set keeps its contract: one function, whose words `bench check` and a run share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunebench import samples
from prunebench.errors import DataError
from prunebench.splits import Split, Splits, StreamSplit, TensorSplit

HEAD = 64  # samples read of a stream
CHUNK = 4096  # samples looked at at once
LARGEST = 1e9  # beyond it squares and sums leave float32
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class DataFault:
    """One fault: the check's name, what was seen and how to fix it; one that is no `is_error` is only told."""

    check: str
    seen: str
    fix: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{self.seen}; {self.fix}"


def require_sound(loaded: Any, shape: tuple[int, ...] | None, name: str) -> tuple[str, ...]:
    """What is worth a note; raises `DataError`, naming the data set, the first fault and its fix."""
    faults = data_faults(loaded, shape)
    wrong = [fault for fault in faults if fault.is_error]
    if wrong:
        more = f" (and {len(wrong) - 1} more: bench check {name})" if len(wrong) > 1 else ""
        raise DataError(f"data set {name}: {wrong[0]}{more}")
    return tuple(f"data set {name}: {fault}" for fault in faults)


def data_faults(loaded: Any, shape: tuple[int, ...] | None) -> list[DataFault]:
    """Every fault of what `load` returned for inputs of `shape` (None: any).

    Each value of a split that is held whole is read once; one that streams is judged by its first samples.
    """
    if not isinstance(loaded, Splits):
        return [DataFault("load", f"load returned {type(loaded).__name__}, not Splits", "return Splits(…)")]
    if loaded.class_count is None and loaded.outputs is None:
        return [DataFault("outputs", "says neither class_count nor outputs", "Splits(…, outputs=1)")]
    if loaded.class_count is not None and loaded.class_count < 2:
        return [DataFault("classes", f"class_count is {loaded.class_count}", "nothing to tell apart: have 2 or more")]
    shape = None if "window" in loaded.facts else shape  # a window of text may be shorter than the model's
    found: list[DataFault] = []
    seen: dict[str, Tensor] = {}
    for name in PARTS:
        faults, labels = _split_faults(name, getattr(loaded, name), shape, loaded.class_count)
        found += faults
        if loaded.class_count is not None and labels is not None and not faults:
            seen[name] = labels
    if not found and loaded.class_count is not None:
        found += _class_faults(loaded, seen)
    if not loaded.fingerprint:
        found.append(DataFault("fingerprint", "the fingerprint is empty", "hash the data itself", is_error=False))
    return found


def _split_faults(
    name: str, split: Split, shape: tuple[int, ...] | None, class_count: int | None
) -> tuple[list[DataFault], Tensor | None]:
    """Faults of one split, and its targets where they are one tensor."""
    try:
        inputs, targets = _samples(split)
    except Exception as error:  # a split of a plugin's own reads files, and may raise anything
        seen = f"{name} cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return [DataFault("splits", seen, "make every sample an (input, target) pair of tensors")], None
    faults = list(_form_faults(name, inputs, targets))
    if not faults:
        faults = [*_shape_faults(name, inputs, shape), *_class_form_faults(name, targets, class_count)]
    if not faults:
        faults = [
            *_label_faults(name, targets, class_count),
            *_value_faults(name, inputs),
            *_target_faults(name, targets),
        ]
    return faults, targets if isinstance(targets, Tensor) else None


def _samples(split: Split) -> tuple[Any, Any]:
    if isinstance(split, TensorSplit):
        return split.inputs, split.targets
    if not len(split):
        return torch.empty(0), torch.empty(0)
    return split.head(HEAD)


def _form_faults(name: str, inputs: Any, targets: Any) -> Iterator[DataFault]:
    """Trees of tensors, of one length, that no training reaches through."""
    for what, tree in (("inputs", inputs), ("targets", targets)):
        if not samples.leaves(tree):
            kind = type(tree).__name__
            yield DataFault("type", f"the {what} of {name} are {kind}, not a tensor", "wrap them in torch.as_tensor")
            return
    lengths = [{len(leaf) if leaf.ndim else 0 for leaf in samples.leaves(tree)} for tree in (inputs, targets)]
    if 0 in lengths[0] | lengths[1]:
        yield DataFault("splits", f"{name} is empty", "every split needs samples")
    elif len(lengths[0] | lengths[1]) > 1:
        counts = " and ".join(
            f"{'/'.join(f'{size:,}' for size in sorted(sizes))} {what}"
            for sizes, what in zip(lengths, ("inputs", "targets"), strict=True)
        )
        yield DataFault("lengths", f"{name} has {counts}", "give every input one target")
    elif any(leaf.requires_grad for leaf in samples.leaves(inputs)):
        yield DataFault("gradients", f"the inputs of {name} require gradients", "return inputs.detach()")


def _shape_faults(name: str, inputs: Any, shape: tuple[int, ...] | None) -> Iterator[DataFault]:
    """What a model that asks for inputs of a `shape` is not given."""
    if shape is None:
        return
    kinds = (torch.float32, torch.int64) if len(shape) == 1 else (torch.float32,)  # (T,) may be tokens
    if not isinstance(inputs, Tensor) or tuple(inputs.shape[1:]) != tuple(shape) or inputs.dtype not in kinds:
        one = f"{inputs.dtype} {tuple(inputs.shape[1:])}" if isinstance(inputs, Tensor) else samples.shapes(inputs)
        seen = f"{name} has {one} instead of float32 {tuple(shape)}"
        yield DataFault("shape", seen, "resize to input_shape, channels first, and return float32")


def _class_form_faults(name: str, targets: Any, class_count: int | None) -> Iterator[DataFault]:
    if class_count is None:
        return
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.ndim != 1:
        seen = f"{name} has {samples.shapes(targets)} as labels instead of int64 ({samples.count(targets)},)"
        yield DataFault("labels", seen, "give one int64 class number per sample")


def _label_faults(name: str, labels: Any, class_count: int | None) -> Iterator[DataFault]:
    if class_count is None:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= class_count:
        seen = f"{name} has labels from {low} to {high}, outside [0, {class_count})"
        yield DataFault("labels", seen, "number the classes from 0 and leave samples without a class out")


def _value_faults(name: str, inputs: Any) -> Iterator[DataFault]:
    """Values that cannot be computed with; one pass, in chunks."""
    for leaf in samples.leaves(inputs):
        if leaf.is_floating_point():
            yield from _number_faults(name, leaf)


def _target_faults(name: str, targets: Any) -> Iterator[DataFault]:
    """Numbers to predict that are none: the loss would be none either."""
    for leaf in samples.leaves(targets):
        if leaf.is_floating_point() and not leaf.isfinite().all():
            sample = int((~leaf.reshape(len(leaf), -1).isfinite().all(1)).nonzero()[0])
            seen = f"the targets of {name} have NaN or infinity, first in sample {sample}"
            yield DataFault("targets", seen, "leave samples without a target out")
            return


def _number_faults(name: str, leaf: Tensor) -> Iterator[DataFault]:
    low, high = float("inf"), float("-inf")
    for start in range(0, len(leaf), CHUNK):
        least, most = (float(bound) for bound in leaf[start : start + CHUNK].aminmax())
        if not (least > float("-inf") and most < float("inf")):  # NaN fails both
            finite = leaf[start : start + CHUNK].reshape(len(leaf[start : start + CHUNK]), -1).isfinite().all(1)
            sample = start + int((~finite).nonzero()[0])
            yield DataFault("values", f"{name} has NaN or infinity, first in sample {sample}", "clean the inputs")
            return
        low, high = min(low, least), max(high, most)
    if max(abs(low), abs(high)) > LARGEST:
        yield DataFault("values", f"{name} has values from {low:.2g} to {high:.2g}", "normalise them to about [-1, 1]")
    elif low == high and len(leaf) > 1:
        yield DataFault("values", f"every value of {name} is {low:g}", "load the inputs, not a constant")


def _class_faults(loaded: Splits, seen: dict[str, Tensor]) -> Iterator[DataFault]:
    """Classes that are never learnt, or never asked; nothing is said of a stream, of which the head alone is read."""
    if any(
        isinstance(getattr(loaded, name), StreamSplit) or len(seen[name]) < len(getattr(loaded, name)) for name in PARTS
    ):
        return
    present = {name: set(labels.unique().tolist()) for name, labels in seen.items()}
    if len(present["train"]) < 2:
        only = next(iter(present["train"]))
        yield DataFault("classes", f"train holds class {only} alone", "give it samples of every class")
    elif unlearnt := sorted((present["test"] | present["validation"]) - present["train"]):
        seen_words = f"test or validation has class {unlearnt[0]}, which train has not"
        # Fewer samples than classes cannot hold them all: such data are for networks that come trained.
        can_hold_all = len(seen["train"]) >= (loaded.class_count or 0)
        yield DataFault("classes", seen_words, "split so that train holds every class", is_error=can_hold_all)
    assert loaded.class_count is not None
    missing = sorted(set(range(loaded.class_count)) - present["test"])
    if missing:
        few = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        is_unused = not (set(missing) & present["train"])
        fix = "lower class_count" if is_unused else "split so that test holds every class"
        text = f"test holds no sample of {len(missing)} of {loaded.class_count} classes ({few})"
        yield DataFault("classes", text, fix, is_error=False)
