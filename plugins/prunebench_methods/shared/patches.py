"""The vectors that a layer multiplies by its weight: rows of its input, or the patches under a convolution's kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench_methods.shared.calibration import channel_rows
from prunebench_methods.shared.replace import Layer

ROWS = 1 << 17  # of patches at most that a convolution's inputs are sampled by
CHUNK = 1 << 24  # entries of unfolded patches held at once


def patches(layer: Layer, inputs: Tensor, chosen: Tensor | None) -> Tensor:
    """(rows, n): the vectors that the layer multiplies by its weight; a convolution's at the `chosen` positions."""
    if isinstance(layer, nn.Linear):
        return channel_rows(inputs, nn.Linear)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(inputs, list(layer._reversed_padding_repeated_twice), mode=mode)
    entries = padded[0].numel() * layer.kernel_size[0] * layer.kernel_size[1]
    found = []
    for part in padded.split(max(1, CHUNK // entries)):
        columns = functional.unfold(part, layer.kernel_size, layer.dilation, stride=layer.stride)  # (B, n, L)
        found.append((columns if chosen is None else columns[:, :, chosen]).transpose(1, 2).flatten(0, 1))
    return torch.cat(found)


def chosen_positions(position_count: int, sample_count: int, seed: int) -> Tensor | None:
    """Positions of a feature map to look at, the same in every sample, to stay within `ROWS`; None for all."""
    wanted = max(1, ROWS // max(1, sample_count))
    if wanted >= position_count:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(position_count, generator=generator)[:wanted].sort().values
