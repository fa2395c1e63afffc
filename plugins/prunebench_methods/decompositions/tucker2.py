"""Tucker-2 decomposition of convolutions: fewer channels in, a small kernel, more channels out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerShape, Task, param

from prunebench_methods.decompositions.decompose import Decomposition
from prunebench_methods.decompositions.pieces import Factors, Piece
from prunebench_methods.low_rank.forms import form_param
from prunebench_methods.shared.selection import rounded_up

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Tucker2(Decomposition):
    """1x1 to fewer channels, the k x k kernel between `rank` channels, 1x1 to all (Kim et al., 2016).

    The two ranks are the same number (`rank`) or the same share of the layer's channels (`rank_ratio`; `keep` finds
    the share), instead of the paper's choice by variational Bayes. In form "pivot" the middle kernel works on some of
    the layer's own channels on both sides, the other inputs added to them and the other outputs made of them: the same
    product with r(S - r) and r(T - r) numbers in place of r S and r T, and two times of moving channels.
    """

    name = "tucker2"
    paper = "https://arxiv.org/abs/1511.06530"

    sweeps: int = param(10, "orthogonal iterations after the higher-order SVD, at most", at_least=0)
    form: str = form_param()

    def pieces(self, shape: LayerShape, rank: int | tuple[int, int]) -> tuple[Piece, ...]:
        """S -> r_in, k x k to r_out, -> T."""
        inner_in, inner_out = (rank, rank) if isinstance(rank, int) else rank
        own = (inner_in, inner_out) if self.form == "pivot" else (0, 0)
        return (
            Piece(inner_in, shape.in_channels - own[0]),
            Piece(inner_out, inner_in, shape.kernel, rows=True, columns=True),
            Piece(shape.out_channels - own[1], inner_out),
        )

    def exact_rank(self, shape: LayerShape) -> int:
        """As many as channels, of the side that has more."""
        return max(shape.in_channels, shape.out_channels)

    def rank_of(self, shape: LayerShape) -> tuple[int, int]:
        """Channels between the layers, (in, out)."""
        if self.rank is not None:
            return min(self.rank, shape.in_channels), min(self.rank, shape.out_channels)
        if self.rank_ratio is not None:
            return self._shares(shape, self.rank_ratio)
        return self._shares(shape, self._share_for(shape, (self.keep or 1.0) * shape.weight_count))

    def break_even(self, shape: LayerShape) -> tuple[int, int]:
        """The ranks of the largest common share at which the chain is smaller."""
        return self._shares(shape, self._share_for(shape, shape.weight_count - 1), 1)

    def _shares(self, shape: LayerShape, share: float, multiple: int | None = None) -> tuple[int, int]:
        sides = (shape.in_channels, shape.out_channels)
        inner_in, inner_out = (rounded_up(int(share * n + 1e-9), multiple or self.round_to, n) for n in sides)
        return inner_in, inner_out

    def _share_for(self, shape: LayerShape, weights: float) -> float:
        """The least share f of both sides for which f(S² + T²) + f²·S·T·k² is `weights`; as pivots f²(S² + T²) less."""
        squares = shape.in_channels**2 + shape.out_channels**2
        second = shape.weight_count - (squares if self.form == "pivot" else 0)
        return min(1.0, 2 * weights / (squares + math.sqrt(max(0, squares**2 + 4 * second * weights))))

    def factors(self, layer: nn.Conv2d, name: str, rank: tuple[int, int], task: Task) -> Factors:
        """Truncated bases, then iterated; the bases are computed once for a sweep."""
        from prunebench_methods.decompositions.tucker2_math import channel_vectors, tucker_factors

        found = task.once(("channel_vectors", name), lambda: channel_vectors(layer))
        return tucker_factors(layer, found, rank, self.sweeps)

    def chain(self, layer: nn.Conv2d, pieces: Sequence[Piece], factors: Factors) -> nn.Module:
        """Three convolutions, or in pivot form one between channels of the layer itself."""
        if self.form == "factors":
            return super().chain(layer, pieces, factors)
        from prunebench_methods.decompositions.tucker2_math import on_pivots

        return on_pivots(layer, factors)
