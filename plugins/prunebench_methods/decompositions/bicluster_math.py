"""The blocks of a biclustered kernel, and their sums of products as three convolutions.

Letters: C input and F output channels, in G and H clusters, P places of the kernel, K products a block.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunebench_methods.decompositions.als import ModeBases, Settings, composed, fitted, mode_bases
from prunebench_methods.decompositions.chain import relative_error
from prunebench_methods.decompositions.pieces import Factors
from prunebench_methods.shared.equal_clusters import clusters_of
from prunebench_methods.shared.numerics import working

SETTINGS = Settings()


class Blocks(NamedTuple):
    """The kernel cut into G·H blocks (G·H, C/G, P, F/H), and the channels in the order of their clusters."""

    tensor: Tensor
    bases: ModeBases
    inputs: Tensor  # (C,)
    outputs: Tensor  # (F,)
    sides: tuple[int, int]  # (G, H)
    kernel: tuple[int, int]


def blocks_of(layer: nn.Conv2d, input_clusters: int, output_clusters: int, seed: int) -> Blocks:
    """Channels with similar weights come into one cluster; the draws are those of the seed alone."""
    kernel = working(layer.weight)  # (F, C, kh, kw)
    generator = torch.Generator().manual_seed(seed)
    inputs = _by_cluster(kernel.transpose(0, 1).flatten(1), input_clusters, generator)
    outputs = _by_cluster(kernel.flatten(1), output_clusters, generator)
    ordered = kernel[outputs.to(kernel.device)][:, inputs.to(kernel.device)].flatten(2)  # (F, C, P)
    cut = ordered.reshape(output_clusters, -1, input_clusters, kernel.shape[1] // input_clusters, ordered.shape[2])
    tensor = cut.permute(2, 0, 3, 4, 1).flatten(0, 1).contiguous()
    sides, size = (input_clusters, output_clusters), (kernel.shape[2], kernel.shape[3])
    return Blocks(tensor, mode_bases(tensor), inputs, outputs, sides, size)


def _by_cluster(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return clusters_of(points, count, generator, equal=True).argsort(stable=True)


def block_factors(blocks: Blocks, rank: int, generator: torch.Generator, *, greedy: bool) -> Factors:
    """Weights (GHK, C/G, 1, 1), (GHK, 1, kh, kw) and (F, GK, 1, 1), and the orders between them."""
    parts = (
        _greedily(blocks, rank, generator) if greedy else fitted(blocks.tensor, rank, blocks.bases, generator, SETTINGS)
    )
    inputs, places, outputs = (part.transpose(1, 2) for part in parts)  # (GH, K, C/G), (GH, K, P), (GH, K, F/H)
    clusters_in, clusters_out = blocks.sides
    first = inputs.flatten(0, 1)[:, :, None, None]
    middle = places.reshape(-1, 1, *blocks.kernel)
    last = outputs.reshape(clusters_in, clusters_out, rank, -1).permute(1, 3, 0, 2)  # (H, F/H, G, K)
    between = torch.arange(len(first)).reshape(clusters_in, clusters_out, rank).transpose(0, 1).flatten()
    orders = (blocks.inputs, None, between, blocks.outputs.argsort())
    weights = (first, middle, last.reshape(-1, clusters_in * rank, 1, 1))
    return Factors(weights, relative_error(blocks.tensor, composed(parts)), orders)


def _greedily(blocks: Blocks, rank: int, generator: torch.Generator) -> list[Tensor]:
    """One product after the other, each the best for what those before it left."""
    left, found = blocks.tensor, []
    for _ in range(rank):
        found.append(fitted(left, 1, mode_bases(left), generator, SETTINGS))
        left = left - composed(found[-1])
    return [torch.cat(parts, dim=2) for parts in zip(*found, strict=True)]
