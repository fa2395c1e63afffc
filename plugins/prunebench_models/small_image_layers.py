"""Convolutional networks for 32×32 colour images."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench_models.residual import Block

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


class PaddedShortcut(nn.Module):
    """Every other pixel, and zeros for the channels that are new: the shortcut without parameters (option A)."""

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.new_channels = new_channels

    def forward(self, x: Tensor) -> Tensor:
        before = self.new_channels // 2
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.new_channels - before))


def cifar_resnet(class_count: int, blocks: int) -> nn.Sequential:
    """A stem of 16 channels, three stages of 16, 32 and 64 channels with `blocks` blocks each, one linear layer."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False), norm1=nn.BatchNorm2d(16), relu1=nn.ReLU()
    )
    inputs = 16
    for stage, outputs in enumerate((16, 32, 64), start=1):
        for number in range(blocks):
            stride = 2 if number == 0 and stage > 1 else 1
            shortcut = nn.Identity() if stride == 1 else PaddedShortcut(outputs - inputs)
            layers[f"stage{stage}_block{number + 1}"] = Block(inputs, outputs, stride, shortcut)
            inputs = outputs
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(64, class_count)
    network = nn.Sequential(layers)
    _he(network)
    return network


def cifar_vgg16(class_count: int) -> nn.Sequential:
    """Thirteen 3×3 convolutions with batch norm and ReLU, five poolings, one linear layer."""
    layers: list[nn.Module] = []
    inputs = 3
    for entry in VGG16:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inputs, entry, 3, padding=1), nn.BatchNorm2d(entry), nn.ReLU()]
            inputs = entry
    network = nn.Sequential(
        OrderedDict(features=nn.Sequential(*layers), flatten=nn.Flatten(), classifier=nn.Linear(512, class_count))
    )
    _he(network)
    return network


class PreActivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3×3 convolutions; a 1×1 one beside them where the size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        is_same = stride == 1 and inputs == outputs
        self.shortcut = None if is_same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.norm1(x))
        beside = x if self.shortcut is None else self.shortcut(active)
        result: Tensor = self.conv2(self.relu2(self.norm2(self.conv1(active)))) + beside
        return result


def wide_resnet(class_count: int, blocks: int, widen: int) -> nn.Sequential:
    """A stem of 16 channels and three stages of `blocks` pre-activation blocks, `widen` times 16, 32, 64 channels."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False))
    inputs = 16
    for stage, outputs in enumerate((16 * widen, 32 * widen, 64 * widen), start=1):
        for number in range(blocks):
            stride = 2 if number == 0 and stage > 1 else 1
            layers[f"stage{stage}_block{number + 1}"] = PreActivationBlock(inputs, outputs, stride)
            inputs = outputs
    layers.update(norm=nn.BatchNorm2d(inputs), relu=nn.ReLU(), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    layers["fc"] = nn.Linear(inputs, class_count)
    network = nn.Sequential(layers)
    _he(network)
    return network


def cifar_mobilenet_v2(class_count: int, width: float) -> nn.Module:
    """Torchvision's MobileNetV2 with the stem and the second stage at full size."""
    from torchvision.models import mobilenet_v2

    stages = [
        [1, 16, 1, 1],
        [6, 24, 2, 1],  # stride 2 in the original
        [6, 32, 3, 2],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ]
    network = mobilenet_v2(num_classes=class_count, width_mult=width, inverted_residual_setting=stages, dropout=0.0)
    network.features[0][0].stride = (1, 1)
    result: nn.Module = network
    return result


def _he(network: nn.Module) -> None:
    """Initialise convolutions by He et al. (2015, "Delving deep"), fan out, as the residual papers do."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
