"""Data as batches on a device: one tensor where it fits, a stream of files where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Split(Protocol):
    """Labelled samples; iterated in batches, in order or in a generator's random order."""

    def __len__(self) -> int:
        """Samples."""

    def batches(
        self, size: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of inputs (B, C, H, W) float32 and labels (B,) int64 on `device`; shuffled when given a generator."""

    def head(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` samples (fewer if there are fewer), on the CPU."""


@dataclass(frozen=True, eq=False)
class TensorSplit:
    """A split held whole: inputs (N, C, H, W) float32 and labels (N,) int64; moved to a device once, then sliced."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, size: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Slices in order, or rows gathered in the generator's order; a batch is copied where it must be."""
        import torch

        if generator is None:
            parts: Iterable[tuple[Tensor, Tensor]] = zip(self.images.split(size), self.labels.split(size), strict=True)
        else:
            order = torch.randperm(len(self.labels), generator=generator, device=generator.device)
            chosen = order.to(self.labels.device).split(size)
            parts = ((self.images[rows], self.labels[rows]) for rows in chosen)
        for images, labels in parts:
            yield images.to(device), labels.to(device)

    def head(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` samples, on the CPU."""
        return self.images[:count].cpu(), self.labels[:count].cpu()

    def to(self, device: torch.device | str) -> TensorSplit:
        """The same split on `device`; itself when it is there already."""
        return TensorSplit(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class StreamSplit:
    """A split read sample by sample from a map-style torch data set, by worker processes, into pinned memory."""

    samples: Any  # torch.utils.data.Dataset of (input (C, H, W) float32, label int)
    workers: int = 2
    limit: int = 0  # 0 for all

    def __len__(self) -> int:
        return min(self.limit, len(self.samples)) if self.limit else len(self.samples)

    def batches(
        self, size: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
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
        for images, labels in loader:
            yield images.to(device, non_blocking=pinned), labels.to(device, non_blocking=pinned)

    def head(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` samples, read in this process."""
        import torch

        rows = [self.samples[i] for i in range(min(count, len(self)))]
        return torch.stack([row[0] for row in rows]), torch.tensor([int(row[1]) for row in rows])


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set, loaded: what trains, what chooses, what is scored; `fingerprint` hashes the data itself."""

    train: Split
    validation: Split
    test: Split
    class_count: int
    fingerprint: str

    def map(self, change: Callable[[Split], Split]) -> Splits:
        """The same data set with `change` applied to each split."""
        parts = (change(self.train), change(self.validation), change(self.test))
        return Splits(*parts, class_count=self.class_count, fingerprint=self.fingerprint)
