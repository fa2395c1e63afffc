"""What tensor decompositions of convolutions have in common: a layer becomes a chain of smaller convolutions.

The chain is described in plain numbers, from which both the closed-form counts and the new layers are made.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from prunebench import LayerCounts, LayerShape, Method, NotApplicable, Task, param

from prunebench_methods.decompositions.pieces import (
    Factors,
    Piece,
    chain_mac_count,
    sizes_known,
    weight_count,
)
from prunebench_methods.shared.selection import GAIN_BATCH_DOC, MIN_GAIN_DOC, refusal, require_one, rounded_up

if TYPE_CHECKING:
    from torch import nn


def convolution_refusal(shape: LayerShape, *, spatial: bool = False) -> str:
    """Why a decomposition of convolutions leaves the layer alone, or ""; `spatial` asks for more than 1x1."""
    if shape.kind != "conv2d":
        return "not a convolution"
    if why := refusal(shape, grouped=False):
        return why
    if spatial and shape.kernel == (1, 1):
        return "a 1x1 kernel has nothing to separate: low_rank is the method for it"
    return ""


@dataclass(frozen=True)
class Decomposition(Method):
    """Replaces each convolution by a chain of smaller ones; `rank` counts the components that are kept.

    A pivot form, rows of the layer itself in place of a factor, needs factors of which any basis will do. Where a
    depthwise kernel stands between them (cp, bicluster, separable_basis) components cannot be mixed, and where a factor
    has its rows by place of the kernel (spatial_svd) a row is no output: of these methods `tucker2` alone has one.
    Which layers `min_gain` leaves dense depends on the machine and its load.
    """

    rank: int | None = param(None, "components kept in every layer", at_least=1)
    rank_ratio: float | None = param(None, "components kept, as a share of the exact rank", above=0, at_most=1)
    keep: float | None = param(None, "share of a layer's weights that its chain may have", above=0, at_most=1)
    round_to: int = param(1, "ranks that a share decides are rounded up to a multiple of this", at_least=1)
    even_if_larger: bool = param(False, "replace layers also where the chain has no fewer weights than the layer")
    min_gain: float | None = param(None, MIN_GAIN_DOC, above=0)
    gain_batch: int = param(1, GAIN_BATCH_DOC, at_least=1)

    knob = "keep"
    loosest = {"rank_ratio": 1.0, "even_if_larger": True}
    example = {"keep": 0.4}
    spatial: ClassVar[bool] = True  # the method has nothing to do with 1x1 kernels

    @abstractmethod
    def pieces(self, shape: LayerShape, rank: Any) -> tuple[Piece, ...]:
        """The chain at `rank`."""

    @abstractmethod
    def factors(self, layer: nn.Conv2d, name: str, rank: Any, task: Task) -> Factors:
        """The weights of that chain; `task.once` keeps what does not depend on the rank."""

    @abstractmethod
    def exact_rank(self, shape: LayerShape) -> int:
        """A rank at which the chain can compute what any layer of this shape does."""

    def chain(self, layer: nn.Conv2d, pieces: Sequence[Piece], factors: Factors) -> nn.Module:
        """What stands in the layer's place."""
        from prunebench_methods.decompositions.chain import chained

        return chained(layer, pieces, factors)

    @property
    def measures(self) -> bool:
        """With `min_gain` the times of layers."""
        return self.min_gain is not None

    def refusal(self, shape: LayerShape) -> str:
        """Why the layer is of no kind that the method works on, or an empty string."""
        return convolution_refusal(shape, spatial=self.spatial)

    def check(self) -> None:
        """Exactly one way to choose the rank."""
        require_one(rank=self.rank, rank_ratio=self.rank_ratio, keep=self.keep)

    def rank_of(self, shape: LayerShape) -> Any:
        """The rank that the settings give a layer, at least 1; only a `rank` may exceed the exact one."""
        exact = max(self.exact_rank(shape), 1)
        if self.rank is not None:
            return self.rank if self.even_if_larger else min(self.rank, exact)
        if self.keep is not None:
            wanted = int(self.keep * shape.weight_count / weight_count(self.pieces(shape, 1)))
        else:
            wanted = round((self.rank_ratio or 1.0) * exact)
        return rounded_up(wanted, self.round_to, exact)

    def break_even(self, shape: LayerShape) -> int | tuple[int, int]:
        """The largest rank at which the chain has fewer weights than the layer; may be 0."""
        return max(0, (shape.weight_count - 1) // weight_count(self.pieces(shape, 1)))

    def why_left_alone(self, shape: LayerShape) -> str:
        """The reason why a layer stays dense; empty when it is replaced."""
        if why := self.refusal(shape):
            return why
        if self.even_if_larger:
            return ""
        if self.keep == 1:
            return "keep 1 leaves it dense"
        if weight_count(self.pieces(shape, self.rank_of(shape))) < shape.weight_count:
            return ""
        return f"rank {_text(self.rank_of(shape))} saves nothing here: break-even is {_text(self.break_even(shape))}"

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """The chains' sizes; None where measured times decide, or the shapes lack the sizes of the layers' inputs."""
        if self.min_gain is not None or not sizes_known(shapes):
            return None
        return [self._layer_counts(shape) for shape in shapes]

    def _layer_counts(self, shape: LayerShape) -> LayerCounts:
        if why := self.why_left_alone(shape):
            return LayerCounts.unchanged(shape, why)
        rank = self.rank_of(shape)
        pieces = self.pieces(shape, rank)
        parameters = weight_count(pieces) + (shape.out_channels if shape.bias else 0)
        return LayerCounts(shape.name, parameters, parameters, chain_mac_count(shape, pieces), _shown(rank))

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """The network with each convolution replaced by its chain; the others are recorded with the reason."""
        from prunebench_methods.shared.gain import too_slow
        from prunebench_methods.shared.replace import nothing_left, replace_module, select_convolutions, shapes_by_name

        shapes = shapes_by_name(task)
        reasons = {name: self.why_left_alone(shape) for name, shape in shapes.items()}
        for name, layer in select_convolutions(network, task, reasons).items():
            rank = self.rank_of(shapes[name])
            found = self.factors(layer, name, rank, task)
            chain = self.chain(layer, self.pieces(shapes[name], rank), found)
            if why := too_slow(layer, chain, shapes[name], self.min_gain, self.gain_batch):
                reasons[name] = why
                task.layer(name, left_alone=why)
                continue
            network = replace_module(network, name, chain)
            task.layer(name, rank=_shown(rank), weight_error=found.error)
        if all(reasons.values()):
            raise NotApplicable(nothing_left(reasons))
        return network


def _shown(rank: int | tuple[int, ...]) -> int:
    return rank if isinstance(rank, int) else min(rank)


def _text(rank: int | tuple[int, ...]) -> str:
    return str(rank) if isinstance(rank, int) else " and ".join(map(str, rank))
