"""Small stand-ins that behave: a data set that can be learnt in a second, networks, methods good and bad."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from prunebench import Dataset, LayerCounts, Method, Model, NotApplicable, Splits, TensorSplit, param
from prunebench.plugins.discovery import Installed
from prunebench_objectives.classification import Classification
from torch import nn

CLASSIFICATION = Classification()


@dataclass(frozen=True)
class Blobs(Dataset):
    """Four Gaussian clouds as 1×4×4 images."""

    name = "blobs"
    class_count = 4
    spread: float = param(0.5, "standard deviation of a cloud", above=0)

    def load(self, input_shape: tuple[int, int, int], folder: Path) -> Splits:
        generator = torch.Generator().manual_seed(1)
        centres = torch.randn(4, *input_shape, generator=generator)
        parts = []
        for count in (240, 80, 80):
            labels = torch.arange(count) % 4
            images = centres[labels] + self.spread * torch.randn(count, *input_shape, generator=generator)
            parts.append(TensorSplit(images, labels))
        return Splits(*parts, class_count=4, fingerprint=f"blobs-{self.spread}")


@dataclass(frozen=True)
class Tiny(Model):
    """A fully connected network of two layers."""

    name = "tiny"
    input_shape = (1, 4, 4)
    width: int = param(12, "hidden units", at_least=1)

    def build(self, class_count: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(16, self.width), nn.ReLU(), nn.Linear(self.width, class_count))


@dataclass(frozen=True)
class Dense(Method):
    """Leaves the network as it is."""

    name = "dense"
    control = True

    def prune(self, network, task):
        return network


@dataclass(frozen=True)
class Keep(Method):
    """Keeps the first share of every weight's entries: no good, but exact."""

    name = "keep"
    knob = "share"
    loosest: ClassVar = {"share": 1.0}
    share: float = param(0.5, "share kept", above=0, at_most=1)

    def counts(self, shapes):
        return [
            LayerCounts(
                s.name,
                s.parameter_count,
                int(self.share * s.weight_count) + (s.out_channels if s.bias else 0),
                s.mac_count,
            )
            for s in shapes
        ]

    def prune(self, network, task):
        for module in network.modules():
            if isinstance(module, nn.Linear):
                with torch.no_grad():
                    module.weight.flatten()[int(self.share * module.weight.numel()) :] = 0
        return network


@dataclass(frozen=True)
class Declines(Method):
    """Always says why not."""

    name = "declines"

    def prune(self, network, task):
        raise NotApplicable("not on a Tuesday")


@dataclass(frozen=True)
class Raises(Method):
    """Fails in the way that `how` says."""

    name = "raises"
    how: str = "value"

    def prune(self, network, task):
        if self.how == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if self.how == "nan":
            nn.init.constant_(network[1].weight, float("nan"))
            return network
        if self.how == "nothing":
            return None
        if self.how == "bytes":
            raise FileNotFoundError(f"no file {os.fsdecode(bytes([0x61, 0xFF]))}")
        if self.how == "declines in bytes":
            raise NotApplicable(f"no file {os.fsdecode(bytes([0x61, 0xFF]))}")
        if self.how == "mute":
            raise Mute
        raise ValueError("this method is broken")


class Mute(Exception):
    """Cannot even be said."""

    def __str__(self):
        raise RuntimeError("no text")


@dataclass(frozen=True)
class Liar(Keep):
    """Declares more zeros than it makes."""

    name = "liar"

    def prune(self, network, task):
        return network


def toy_installed() -> Installed:
    """Only the toys."""
    installed = Installed()
    for kind, cls in (
        ("dataset", Blobs),
        ("objective", Classification),
        ("model", Tiny),
        *(("method", m) for m in (Dense, Keep, Declines, Raises, Liar)),
    ):
        installed = installed.named(kind, cls.name, cls)
    return installed


def imported_network(outputs: int = 4) -> nn.Module:
    """For `use = "import"`: of thirteen numbers a sample."""
    return nn.Sequential(nn.Linear(13, 8), nn.ReLU(), nn.Linear(8, outputs))


def imported_data() -> tuple[torch.Tensor, torch.Tensor]:
    """For `use = "import"`: four clouds of thirteen numbers."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(160) % 4
    return torch.randn(4, 13, generator=generator)[labels] + torch.randn(160, 13, generator=generator), labels
