"""One basis of inputs for the same layer of neighbouring blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import Method, Task, param

from prunebench_methods.low_rank.forms import form_param
from prunebench_methods.shared.allocation import allocation_param
from prunebench_methods.shared.selection import gain_batch_param, min_gain_param

if TYPE_CHECKING:
    from torch import nn

SPREADS = ("uniform", "influence")  # blocks have an influence, and those that share have its mean


@dataclass(frozen=True)
class BasisSharing(Method):
    """Neighbouring blocks share the inner factor of their whitened decompositions (Wang et al., 2025).

    Of the layers that have one place in `together` blocks after each other the weights are stacked and the second
    moments of their inputs added; what is cut off the stack's whitened decomposition then is exactly what their outputs
    lose on inputs of that mean moment. Queries, keys, values and the MLP's first layers share; what writes to the
    residual stream does not, as in the paper, and stays. Departs from it in computing without an inverse. In form
    "pivot" what is shared are rows of the stack itself, and each layer has coefficients for those of its rows that are
    not among them: r(m + n - r) numbers of the stack's m n for the same product. With `min_gain` layers that share stay
    dense together, where one of them gains less.
    """

    name = "basis_sharing"
    paper = "https://arxiv.org/abs/2410.03765"
    knob = "keep"
    loosest = {"keep": 1.0}
    example = {"keep": 0.5}

    keep: float = param(0.8, "share of the weights that layers together may have", above=0, at_most=1)
    together: int = param(2, "blocks that share", at_least=2)
    form: str = form_param()
    min_gain: float | None = min_gain_param()
    gain_batch: int = gain_batch_param()
    allocation: str = allocation_param(SPREADS)

    @property
    def measures(self) -> bool:
        """With `min_gain` the times of layers."""
        return self.min_gain is not None

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """Layers replaced by a shared narrow layer and one of their own; declines without known blocks."""
        from prunebench_methods.low_rank.basis_sharing_math import share_bases

        return share_bases(self, network, task)
