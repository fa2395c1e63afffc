"""Biclustering of convolutions: groups of input and of output channels, and a small sum of products for each pair."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerShape, Task, param

from prunebench_methods.decompositions.decompose import Decomposition
from prunebench_methods.decompositions.pieces import Factors, Piece

if TYPE_CHECKING:
    from torch import nn

FITS = ("als", "greedy")


@dataclass(frozen=True)
class Bicluster(Decomposition):
    """Clusters of input and output channels; each block as `rank` products of input, place and output vectors.

    Denton et al., 2014. Departs from it in that all products of a block are fitted together by default ("als"), in
    place of one after the other ("greedy", the paper's), which is not optimal. As layers: 1x1 by input cluster, k x k
    depthwise, 1x1 by output cluster, with channels reordered between them. There is no pivot form: depthwise kernels
    keep products apart.
    """

    name = "bicluster"
    paper = "https://arxiv.org/abs/1404.0736"
    stochastic = True
    example = {"rank": 1, "input_clusters": 1}

    input_clusters: int = param(2, "clusters of input channels, of equal size", at_least=1)
    output_clusters: int = param(2, "clusters of output channels, of equal size", at_least=1)
    fit: str = param("als", "how a block's products are found", choices=FITS)

    def refusal(self, shape: LayerShape) -> str:
        """Clusters of equal size must exist."""
        if why := super().refusal(shape):
            return why
        sides = (
            (shape.in_channels, self.input_clusters, "input"),
            (shape.out_channels, self.output_clusters, "output"),
        )
        for channels, clusters, side in sides:
            if channels % clusters:
                return f"its {channels} {side} channels do not make {clusters} clusters of equal size"
        return ""

    def pieces(self, shape: LayerShape, rank: int) -> tuple[Piece, ...]:
        """C to G·H·K within input clusters, k x k each, to F within output clusters."""
        wide = self.input_clusters * self.output_clusters * rank
        return (
            Piece(wide, shape.in_channels, groups=self.input_clusters),
            Piece(wide, wide, shape.kernel, wide, rows=True, columns=True),
            Piece(shape.out_channels, wide, groups=self.output_clusters),
        )

    def exact_rank(self, shape: LayerShape) -> int:
        """The product of the two shorter sides of a block (C/G, kh·kw, F/H)."""
        inputs, outputs = shape.in_channels // self.input_clusters, shape.out_channels // self.output_clusters
        sizes = (inputs, shape.kernel[0] * shape.kernel[1], outputs)
        return math.prod(sizes) // max(sizes)

    def factors(self, layer: nn.Conv2d, name: str, rank: int, task: Task) -> Factors:
        """Clusters once for a sweep over ranks, then the blocks' products."""
        from prunebench_methods.decompositions.bicluster_math import block_factors, blocks_of

        sides = (self.input_clusters, self.output_clusters)
        blocks = task.once(("biclusters", name, *sides), lambda: blocks_of(layer, *sides, seed=task.seed))
        return block_factors(blocks, rank, task.generator, greedy=self.fit == "greedy")
