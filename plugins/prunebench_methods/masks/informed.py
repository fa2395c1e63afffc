"""What masks have in common that look at the inputs of a layer: patterns, exact counts, one pass over the data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import masked, weight_refusals
from prunebench_methods.masks.patterns import KEEP_DOC, PATTERN_DOC, Pattern, pattern_of
from prunebench_methods.shared.allocation import allocation_param
from prunebench_methods.shared.selection import SECTIONS, too_wide

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prunebench_methods.shared.grams import Gram

DAMP_DOC = "damping, as a share of the inputs' mean square"


@dataclass(frozen=True)
class InformedMask(Method):
    """Zeros exactly as many weights as the pattern says, layer by layer, from the dense network's inputs."""

    keep: float | None = param(None, KEEP_DOC, above=0, at_most=1)
    pattern: str = param("row", PATTERN_DOC)
    section: str = param("all", "layers that are masked", choices=SECTIONS)
    allocation: str = allocation_param()

    knob = "keep"
    example = {"keep": 0.5}
    loosest = {"keep": 1.0}

    def check(self) -> None:
        """The share and the pattern agree, and a share can be spread."""
        if pattern_of(self.pattern, self.keep).group and self.allocation != "uniform":
            raise ValueError(f'pattern {self.pattern} keeps the same in all layers: allocation must be "uniform"')

    @property
    def wanted(self) -> Pattern:
        """The pattern and its share."""
        return pattern_of(self.pattern, self.keep)

    def reasons(self, shapes: Sequence[LayerShape]) -> dict[str, str]:
        """Layer -> why it is left alone; empty for those to be masked."""
        found = weight_refusals(shapes, self.section)
        return {s.name: found[s.name] or too_wide(s) or self.wanted.refusal(s) for s in shapes}

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with new weights of which all but the survivors are zero, in place."""
        from prunebench_methods.masks.informed_math import mask_layers

        return mask_layers(self, network, task)

    @abstractmethod
    def weights(self, weight: Tensor, gram: Gram, group: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """The new weight (m, n) of one group and its mask, from the dense weight, which stays as it is.

        `seed` is another for every group of every layer: a control draws by it.
        """

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Exact by layer, None where data spread the share; a mask alone saves no MACs."""
        if self.allocation != "uniform":
            return None
        why, wanted = self.reasons(shapes), self.wanted
        return [masked(s, why[s.name], wanted.survivors(s)) for s in shapes]

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`)."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
