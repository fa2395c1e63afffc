"""Data as batches on a device: one tree of tensors where it fits, a stream of samples where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from prunebench import samples
from prunebench.records import Value
from prunebench.samples import Tree

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Split(Protocol):
    """Samples with their targets, read in batches: in order, or in a random order that a generator draws."""

    def __len__(self) -> int:
        """The number of samples."""

    def batches(
        self, size: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tree, Tree]]:
        """Pairs of inputs and targets on `device`, `size` samples each; shuffled when given a generator.

        Both are trees of tensors whose first dimension counts samples: images (B, C, H, W) float32 with labels (B,)
        int64, tokens (B, T) int64 with targets (B, T), rows (B, F) with numbers (B,), a mapping of several inputs.
        """

    def head(self, count: int) -> tuple[Tree, Tree]:
        """The first `count` samples (fewer if there are fewer), on the CPU."""


@dataclass(frozen=True, eq=False, init=False)
class TensorSplit:
    """A split in memory: trees of tensors with one entry per sample, moved to a device once and then sliced.

    `images` and `labels` are the names that `inputs` and `targets` had when all data were labelled images.
    """

    inputs: Tree
    targets: Tree

    def __init__(self, inputs: Tree = None, targets: Tree = None, *, images: Tree = None, labels: Tree = None) -> None:
        given = (images if inputs is None else inputs, labels if targets is None else targets)
        if given[0] is None or given[1] is None:
            raise TypeError("TensorSplit needs inputs and targets")
        object.__setattr__(self, "inputs", given[0])
        object.__setattr__(self, "targets", given[1])

    @property
    def images(self) -> Tensor:
        """`inputs`, by their older name."""
        found: Tensor = self.inputs
        return found

    @property
    def labels(self) -> Tensor:
        """`targets`, by their older name."""
        found: Tensor = self.targets
        return found

    def __len__(self) -> int:
        return samples.count(self.targets)

    def batches(
        self, size: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tree, Tree]]:
        """Slices in order, or rows in the generator's order; a batch is a copy only where it has to be."""
        import torch

        if generator is None:
            pairs = zip(samples.batches(self.inputs, size), samples.batches(self.targets, size), strict=True)
            parts: Iterable[tuple[Tree, Tree]] = pairs
        else:
            order = torch.randperm(len(self), generator=generator, device=generator.device)
            parts = ((samples.rows(self.inputs, r), samples.rows(self.targets, r)) for r in order.split(size))
        for inputs, targets in parts:
            yield samples.moved(inputs, device), samples.moved(targets, device)

    def head(self, count: int) -> tuple[Tree, Tree]:
        """The first `count` samples, on the CPU."""
        first = slice(count)
        return samples.moved(samples.rows(self.inputs, first), "cpu"), samples.moved(
            samples.rows(self.targets, first), "cpu"
        )

    def to(self, device: torch.device | str) -> TensorSplit:
        """The same split on `device`; the split itself when it is already there."""
        return TensorSplit(samples.moved(self.inputs, device), samples.moved(self.targets, device))


@dataclass(frozen=True, eq=False)
class StreamSplit:
    """A split read sample by sample from a map-style torch data set, by worker processes, into pinned memory."""

    samples: Any  # torch.utils.data.Dataset of (input, target): trees of tensors or numbers, without a batch dimension
    workers: int = 2
    limit: int = 0  # 0 for all

    def __len__(self) -> int:
        return min(self.limit, len(self.samples)) if self.limit else len(self.samples)

    def batches(
        self, size: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tree, Tree]]:
        """Batches from a DataLoader, copied to the device without waiting where memory is pinned."""
        import torch
        from torch.utils.data import DataLoader, Subset

        subset = Subset(self.samples, range(len(self)))
        pinned = torch.device(device).type == "cuda"
        # A DataLoader without a generator seeds its workers from torch's global one, and moves that on.
        draws = torch.Generator().manual_seed(0) if generator is None else generator
        loader: DataLoader[Any] = DataLoader(
            subset,
            batch_size=size,
            shuffle=generator is not None,
            generator=draws,
            num_workers=self.workers,
            pin_memory=pinned,
        )
        for inputs, targets in loader:
            yield (
                samples.moved(inputs, device, non_blocking=pinned),
                samples.moved(targets, device, non_blocking=pinned),
            )

    def head(self, count: int) -> tuple[Tree, Tree]:
        """The first `count` samples, read in this process."""
        found = [self.samples[i] for i in range(min(count, len(self)))]
        return samples.stacked([row[0] for row in found]), samples.stacked([row[1] for row in found])


@dataclass(frozen=True, eq=False)
class Splits:
    """A loaded data set: its training, validation and test splits; `fingerprint` is a hash of the data.

    `outputs` is how many numbers a network returns per sample, or a vocabulary's size; by default it is `class_count`,
    which only data with classes have. `facts` are what two numbers must have in common to be compared: of text, its
    windows and its tokenizer.
    """

    train: Split
    validation: Split
    test: Split
    class_count: int | None = None
    fingerprint: str = ""
    outputs: int | None = None
    facts: Mapping[str, Value] = field(default_factory=dict)

    @property
    def output_count(self) -> int:
        """What `Model.build` is given as `outputs`; raises ValueError where the data set says neither number."""
        found = self.class_count if self.outputs is None else self.outputs
        if found is None:
            raise ValueError("the data set gives neither class_count nor outputs: say one, as in Splits(…, outputs=1)")
        return found

    def map(self, change: Callable[[Split], Split]) -> Splits:
        """The same data set with `change` applied to each split."""
        parts = (change(self.train), change(self.validation), change(self.test))
        return replace(self, train=parts[0], validation=parts[1], test=parts[2])
