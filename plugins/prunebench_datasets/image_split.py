"""Colour images that stay bytes: resized, normalised and cast a batch at a time, on the device that computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from prunebench import DataError, Splits
from torch import Tensor
from torch.nn import functional

from prunebench_datasets.images import fingerprint, image_shape

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to grey


class Labelled(NamedTuple):
    """Images (N, C, H, W) uint8 with one or three channels, and labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> Labelled:
        """The samples at `rows`."""
        return Labelled(self.images[rows], self.labels[rows])


class Scaling(NamedTuple):
    """How bytes become inputs of `shape` (C, H, W): (byte / 255 - mean) / deviation, per channel."""

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def inputs(self, images: Tensor) -> Tensor:
        """uint8 (B, c, h, w) as float32 (B, C, H, W) on the same device."""
        x = images.float()
        if x.shape[1] != self.shape[0]:
            luma = x.new_tensor(LUMA)[:, None, None]
            x = x.expand(-1, self.shape[0], -1, -1) if x.shape[1] == 1 else (x * luma).sum(1, keepdim=True)
        if x.shape[-2:] != self.shape[1:]:
            x = functional.interpolate(x, self.shape[1:], mode="bilinear", antialias=True)
        mean = x.new_tensor(self.mean)[:, None, None]
        deviation = x.new_tensor(self.deviation)[:, None, None]
        return (x / 255 - mean) / deviation


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """A split of bytes: a quarter of the memory of floats; implements `prunebench.Split`."""

    samples: Labelled
    scaling: Scaling

    def __len__(self) -> int:
        return len(self.samples.labels)

    @property
    def byte_count(self) -> int:
        """Bytes of all images and labels, by which a trial decides whether they fit on its device."""
        return sum(part.numel() * part.element_size() for part in self.samples)

    def batches(
        self, size: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs (B, C, H, W) float32 and labels (B,) int64 on `device`; shuffled when given a generator."""
        count = len(self)
        home = self.samples.labels.device
        if generator is None:
            order = torch.arange(count, device=home)
        else:
            order = torch.randperm(count, generator=generator, device=generator.device).to(home)
        for rows in order.split(size):
            part = self.samples.take(rows)
            yield self.scaling.inputs(part.images.to(device)), part.labels.to(device)

    def head(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` samples, on the CPU."""
        return self.scaling.inputs(self.samples.images[:count].cpu()), self.samples.labels[:count].cpu()

    def to(self, device: torch.device | str) -> ImageSplit:
        """The same split on `device`."""
        return replace(self, samples=Labelled(*(part.to(device) for part in self.samples)))


def splits_of(
    train: Labelled,
    test: Labelled,
    input_shape: tuple[int, ...] | None,
    class_count: int,
    validation: int,
    drawing: int,
) -> Splits:
    """`validation` of the training images set aside at random by `drawing`; channels normalised as those that train.

    Training images are in random order, so that the first ones are a fair sample.
    """
    if validation >= len(train.labels):
        raise DataError(
            f"validation takes {validation:,} of {len(train.labels):,} training images: leave some to train"
        )
    size = image_shape(input_shape)
    if size[0] not in (1, 3):
        raise DataError(f"images fit models with 1 or 3 input channels, got {size[0]}: choose another model")
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(drawing))
    return scaled([train.take(order[validation:]), train.take(order[:validation]), test], size, class_count)


def scaled(parts: Sequence[Labelled], input_shape: tuple[int, int, int], class_count: int) -> Splits:
    """Training, validation and test images as splits, their channels normalised as those that train."""
    scaling = Scaling(input_shape, *_moments(parts[0].images, input_shape[0]))
    train, validation, test = (ImageSplit(part, scaling) for part in parts)
    return Splits(train, validation, test, class_count, fingerprint(parts))


def _moments(images: Tensor, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all training pixels, in [0, 1]; grey ones by their own."""
    total = squares = torch.zeros((), dtype=torch.float64)
    count = 0
    for part in images.split(4096):
        x = Scaling((channels, *part.shape[-2:]), (0.0,) * channels, (1.0,) * channels).inputs(part).double()
        total = total + x.sum((0, 2, 3))
        squares = squares + x.square().sum((0, 2, 3))
        count += x.shape[0] * x.shape[2] * x.shape[3]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(1e-12).sqrt()
    return tuple(mean.tolist()), tuple(deviation.clamp_min(1e-3).tolist())
