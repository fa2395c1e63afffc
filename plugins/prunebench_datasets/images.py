"""From bytes to what a network is fed: parts of a data set, resized, normalised and fingerprinted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import torch
from prunebench import DataError, Splits, TensorSplit
from torch import Tensor
from torch.nn import functional

CHUNK = 4096  # images resized at a time, to bound the memory that the floats need twice


class Part(NamedTuple):
    """Grey images (N, H, W) uint8 and labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> Part:
        """The samples at `rows`."""
        return Part(self.images[rows], self.labels[rows])


class Parts(NamedTuple):
    """A data set as it is stored: small, and before any model has had a say."""

    train: Part
    validation: Part
    test: Part


def splits_of(parts: Parts, input_shape: tuple[int, ...] | None, class_count: int) -> Splits:
    """The parts as float32 tensors of `input_shape`; the fingerprint is that of the stored bytes."""
    train, validation, test = (TensorSplit(as_inputs(part.images, input_shape), part.labels) for part in parts)
    return Splits(train, validation, test, class_count, fingerprint(parts))


def as_inputs(images: Tensor, input_shape: tuple[int, ...] | None) -> Tensor:
    """Grey bytes (N, H, W) as float32 (N, C, H', W') in [-1, 1]: bilinear, the channel repeated for a colour model."""
    channels, height, width = image_shape(input_shape)
    if channels not in (1, 3):
        raise DataError(f"grey images fit models with 1 or 3 input channels, got {channels}: choose another model")
    inputs = torch.empty(len(images), channels, height, width)
    for start in range(0, len(images), CHUNK):
        grey = images[start : start + CHUNK, None].float()  # (n, 1, H, W)
        if grey.shape[-2:] != (height, width):
            grey = functional.interpolate(grey, (height, width), mode="bilinear", antialias=True)
        inputs[start : start + CHUNK] = grey.div_(127.5).sub_(1.0)
    return inputs


def image_shape(input_shape: tuple[int, ...] | None) -> tuple[int, int, int]:
    """`input_shape` where it is one of images, (C, H, W); raises DataError for models of tables or text."""
    if input_shape is None or len(input_shape) != 3:
        raise DataError(f"images need a model whose input_shape is (C, H, W), got {input_shape}: choose another model")
    channels, height, width = input_shape
    return channels, height, width


def fingerprint(parts: Iterable[Iterable[Tensor]]) -> str:
    """SHA-256 over shapes, images and labels of every part, so over the split as well."""
    digest = hashlib.sha256()
    for tensor in (tensor for part in parts for tensor in part):
        digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
