"""The layers of the detector."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GridDetectorNet(nn.Module):
    """Convolutions `conv1` … `conv4`, each with ReLU, and `head`, whose channels are read as boxes and logits."""

    centres: Tensor

    def __init__(self, classes: int, width: int, side: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 2, 1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, 1, 1)
        self.conv4 = nn.Conv2d(2 * width, 2 * width, 3, 1, 1)
        self.head = nn.Conv2d(2 * width, 4 + classes, 1)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias[4:], -3.0)  # most cells see nothing
        steps = (torch.arange(side // 4) + 0.5) / (side // 4)
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("centres", torch.stack([columns, rows], -1).flatten(0, 1), persistent=False)  # (N, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """A candidate a cell: its centre up to an eighth away, its sides as shares of the image."""
        x = self.conv1(images).relu()
        for layer in (self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()
        cells = self.head(x).flatten(2).transpose(1, 2)  # (B, N, 4 + classes)
        centre = self.centres + cells[..., :2].tanh() / 8
        half = cells[..., 2:4].sigmoid() / 2
        return {"boxes": torch.cat([centre - half, centre + half], -1), "logits": cells[..., 4:]}
