"""Stripes of two directions, as a start: replace it with your data."""

import hashlib
from dataclasses import dataclass

from prunebench import Dataset, Splits, TensorSplit, hookimpl, param


@dataclass(frozen=True)
class $cls(Dataset):
    """Noisy stripes, horizontal or vertical."""

    name = "$name"
    class_count = 2
    noise: float = param(0.3, "standard deviation of the noise", at_least=0)

    def load(self, input_shape, folder):
        import torch

        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(600) % 2
        wave = torch.sin(torch.arange(max(input_shape[1:])) * 1.5)
        rows = wave[: input_shape[1], None].expand(input_shape)
        columns = wave[: input_shape[2]].expand(input_shape)
        images = torch.where(labels.view(-1, 1, 1, 1) == 0, rows, columns)
        images = images + self.noise * torch.randn(images.shape, generator=generator)
        parts = [TensorSplit(images[a:b], labels[a:b]) for a, b in ((0, 400), (400, 500), (500, 600))]
        return Splits(*parts, class_count=2, fingerprint=hashlib.sha256(images.numpy().tobytes()).hexdigest())


@hookimpl
def datasets():
    return [$cls]
