"""Residual networks for small pictures."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn


class Block(nn.Module):
    """Two 3×3 convolutions with batch norm, added to what came in, or to what `shortcut` makes of it.

    Without one it is a strided 1×1 convolution with batch norm where the size changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = shortcut or nn.Identity()
        if shortcut is None and (stride != 1 or inputs != outputs):
            self.shortcut = nn.Sequential(
                OrderedDict(conv=nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm=nn.BatchNorm2d(outputs))
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        result: Tensor = self.relu2(inner + self.shortcut(x))
        return result


def small_resnet(class_count: int, width: int, blocks: int) -> nn.Sequential:
    """A 3×3 stem, three stages of `width`, 2·`width` and 4·`width` channels, each half the size; grey in."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Conv2d(1, width, 3, padding=1, bias=False), norm=nn.BatchNorm2d(width), relu=nn.ReLU()
    )
    for stage, (inputs, outputs) in enumerate(pairwise((width, width, 2 * width, 4 * width)), start=1):
        for number in range(1, blocks + 1):
            is_first = number == 1
            stride = 2 if is_first and stage > 1 else 1
            layers[f"stage{stage}_block{number}"] = Block(inputs if is_first else outputs, outputs, stride)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(4 * width, class_count)
    return nn.Sequential(layers)
