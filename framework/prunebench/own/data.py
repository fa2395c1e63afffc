"""Data as people have them in hand, as `Splits`: tensors, a torch data set, a DataLoader."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree
from torch.utils.data import DataLoader, IterableDataset, default_collate

from prunebench import samples
from prunebench.errors import DataError
from prunebench.measure.scores import evaluating
from prunebench.measure.weights import raw_bytes
from prunebench.splits import Splits, TensorSplit

SHARES = (0.7, 0.15)  # of one set of samples, for training and for validation; the rest is the test
HELD_OUT = 0.1  # of training samples, for validation, where a test set is given
COLLECTED = 256  # samples put together at a time
Pair = tuple[Any, Any]


def splits_of(data: Any, test: Any, network: nn.Module, objective: str) -> Splits:
    """`data`, and `test` where it is given, as splits that fit `network` and `objective`; raises `DataError`."""
    if isinstance(data, Splits):
        return splits_from(data, objective=objective, test=test)
    given = samples_of(data, "data")
    answers = output_count(network, given)
    if objective == "classification":
        _require_labels(given[1], answers)
    return splits_from(given, objective=objective, test=test, outputs=answers)


def splits_from(
    data: Any, *, objective: str = "classification", test: Any = None, outputs: int | None = None
) -> Splits:
    """Data as people have them, as `Splits`: (inputs, targets) as tensors, a DataLoader, a torch data set, or `Splits`.

    `test` is what to score on; without it 15 % of `data` are kept apart, by a fixed seed. `outputs` is what a network
    answers: by default as many classes or tokens as the targets show, or numbers. Raises `DataError` in one line.
    """
    if isinstance(data, Splits):
        if test is not None:
            raise DataError("data are Splits, which have a test split: leave test out")
        return data if data.fingerprint else replace(data, fingerprint=fingerprint(data))
    given = samples_of(data, "data")
    parts, how = _parted(given, None if test is None else samples_of(test, "test"))
    answers = _shown_outputs(parts, objective) if outputs is None else outputs
    class_count = answers if objective == "classification" else None
    train, validation, tested = (TensorSplit(*part) for part in parts)
    found = Splits(train, validation, tested, class_count=class_count, outputs=answers)
    return replace(found, fingerprint=fingerprint(found), facts={"split": how})


def _shown_outputs(parts: tuple[Pair, Pair, Pair], objective: str) -> int:
    """What the targets say that a network answers."""
    targets = [leaf for part in parts for leaf in samples.leaves(part[1])]
    if objective in ("classification", "language_modelling"):
        if any(leaf.is_floating_point() for leaf in targets):
            raise DataError(f"{objective} takes whole numbers as targets, got {samples.shapes(parts[0][1])}")
        return max(2, 1 + max(int(leaf.max()) for leaf in targets))
    return int(targets[0].shape[-1]) if targets[0].ndim > 1 else 1


def samples_of(data: Any, what: str) -> Pair:
    """(inputs, targets) as trees of tensors on the CPU; raises `DataError` for what has no targets."""
    if isinstance(data, tuple | list) and len(data) == 2 and not callable(getattr(data, "__getitems__", None)):
        inputs, targets = (_tensors(part) for part in data)
    elif isinstance(data, DataLoader):
        inputs, targets = _read(data)
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Tensor | str | dict):
        inputs, targets = _collected(data, default_collate)
    else:
        raise DataError(f"{what} must be {WANTED}, got {type(data).__name__}")
    _require_pairs(inputs, targets, what)
    return inputs, targets


WANTED = "a pair (inputs, targets) of tensors, a DataLoader, a torch data set of (input, target), or prunebench Splits"


def _tensors(part: Any) -> Any:
    """Arrays become tensors; everything comes to the CPU, without gradients."""
    as_tensor = _pytree.tree_map(lambda leaf: torch.as_tensor(leaf) if hasattr(leaf, "__array__") else leaf, part)
    return samples.mapped(lambda leaf: leaf.detach().cpu(), as_tensor)


def _read(loader: DataLoader[Any]) -> Pair:
    """All samples of a loader, in the data set's own order where it has one: a shuffled one has the same hash then."""
    if isinstance(loader.dataset, IterableDataset):
        return _joined([_pair(batch) for batch in loader])
    return _collected(loader.dataset, loader.collate_fn)


def _collected(dataset: Any, collate: Callable[[list[Any]], Any]) -> Pair:
    starts = range(0, len(dataset), COLLECTED)
    try:
        batches = [collate([dataset[i] for i in range(s, min(s + COLLECTED, len(dataset)))]) for s in starts]
    except (TypeError, RuntimeError) as error:
        raise DataError(f"samples of the data set cannot be stacked: {' '.join(str(error).split())}") from None
    return _joined([_pair(batch) for batch in batches])


def _pair(batch: Any) -> Pair:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        kind = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
        raise DataError(f"a sample must be an (input, target) pair, the data have a {kind}: give them their targets")
    return _tensors(batch[0]), _tensors(batch[1])


def _joined(batches: list[Pair]) -> Pair:
    if not batches:
        raise DataError("the data hold no samples")
    return samples.joined([pair[0] for pair in batches]), samples.joined([pair[1] for pair in batches])


def _require_pairs(inputs: Any, targets: Any, what: str) -> None:
    for name, tree in (("inputs", inputs), ("targets", targets)):
        if not samples.leaves(tree):
            raise DataError(f"the {name} of {what} are {type(tree).__name__}, not tensors: {what} must be {WANTED}")
    try:
        counts = samples.count(inputs), samples.count(targets)
    except ValueError as error:
        raise DataError(f"{what}: {error}") from None
    if counts[0] != counts[1]:
        raise DataError(f"{what}: {counts[0]:,} inputs and {counts[1]:,} targets: give every input one target")


def _parted(given: Pair, test: Pair | None) -> tuple[tuple[Pair, Pair, Pair], str]:
    """Train, validation and test, drawn by a fixed seed, and how in words."""
    count = samples.count(given[1])
    if count < 10:
        raise DataError(f"the data hold {count} samples: at least 10 are needed to split them")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    if test is not None:
        held = max(1, round(HELD_OUT * count))
        return (_rows(given, order[held:]), _rows(given, order[:held]), test), "test as given, a tenth for validation"
    first, second = round(SHARES[0] * count), round((SHARES[0] + SHARES[1]) * count)
    places = order[:first], order[first:second], order[second:]
    train, validation, tested = (_rows(given, place) for place in places)
    return (train, validation, tested), "70/15/15 of the samples given, which the network may have been trained on"


def _rows(pair: Pair, chosen: Tensor) -> Pair:
    return samples.rows(pair[0], chosen), samples.rows(pair[1], chosen)


def output_count(network: nn.Module, given: Pair) -> int:
    """How many numbers `network` answers per sample or token; raises `DataError` where it does not take the inputs."""
    parameter = next(network.parameters(), torch.empty(0))
    few = samples.moved(samples.rows(given[0], slice(2)), parameter.device)
    try:
        with evaluating(network), torch.no_grad():
            answer = samples.call(network, few)
    except Exception as error:  # the border: a network of somebody's own may raise anything
        text = " ".join(str(error).split())[:300]
        raise DataError(f"the network does not accept the inputs {samples.shapes(few)}: {text}") from None
    if not isinstance(answer, Tensor):
        return 1  # what the loss makes of it, the loss knows
    return int(answer.shape[-1]) if answer.ndim > 1 else 1


def _require_labels(targets: Any, class_count: int) -> None:
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= class_count:
        raise DataError(f"labels from {low} to {high}, but the network has {class_count} classes, numbered from 0")


def fingerprint(splits: Splits) -> str:
    """A hash of every sample, in order."""
    digest = hashlib.sha256()
    for name in ("train", "validation", "test"):
        for inputs, targets in getattr(splits, name).batches(4096):
            for leaf in samples.leaves((inputs, targets)):
                digest.update(f"{name} {leaf.dtype} {tuple(leaf.shape)}".encode())
                digest.update(raw_bytes(leaf).numpy().tobytes())
    return digest.hexdigest()[:16]
