"""Networks as chains of named modules, so that methods can follow what feeds what."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def linear_chain(widths: Sequence[int], activation: bool) -> nn.Sequential:
    """Flatten, then a linear layer for each pair of neighbours in `widths`, ReLU between them if `activation`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    last = len(widths) - 1
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers[f"fc{number}"] = nn.Linear(inputs, outputs)
        if activation and number < last:
            layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers)


def lazy_chain(widths: Sequence[int], outputs: int) -> nn.Sequential:
    """Flatten, then linear layers of these widths with ReLU and one of `outputs`; the first is as wide as its input."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten(), fc1=nn.LazyLinear(widths[0]))
    for number, (inside, outside) in enumerate(pairwise([*widths, outputs]), start=1):
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"fc{number + 1}"] = nn.Linear(inside, outside)
    return nn.Sequential(layers)


def lenet(class_count: int) -> nn.Sequential:
    """Two 3×3 convolutions without padding, each halved by max pooling, and three linear layers; 32×32 grey in."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 3),  # (B, 6, 30, 30)
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),  # (B, 6, 15, 15)
            conv2=nn.Conv2d(6, 16, 3),  # (B, 16, 13, 13)
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),  # (B, 16, 6, 6)
            flatten=nn.Flatten(),
            fc1=nn.Linear(576, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, class_count),
        )
    )


def small_cnn(class_count: int, width: int, batch_norm: bool) -> nn.Sequential:
    """Four 3×3 convolutions (`width` channels twice, then 2·`width` twice) on 28×28 grey, then two linear layers."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = (1, width, width, 2 * width, 2 * width)
    for number, (inputs, outputs) in enumerate(pairwise(channels), start=1):
        layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=not batch_norm)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{number}"] = nn.ReLU()
        if number in (2, 4):
            layers[f"pool{number}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()  # (B, 2·width·7·7)
    layers["fc1"] = nn.Linear(2 * width * 49, 128)
    layers["relu5"] = nn.ReLU()
    layers["fc2"] = nn.Linear(128, class_count)
    return nn.Sequential(layers)
