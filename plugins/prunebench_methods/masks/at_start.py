"""What methods have in common that prune a network before it is trained: back to the start, one mask, one training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import evenly_masked_counts, weight_refusals
from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prunebench_methods.shared.replace import Layer

SAMPLES = "training samples that are looked at"


@dataclass(frozen=True)
class AtStart(Method):
    """Masks the dense network as it was initialised, the share over all layers together, and trains it as dense was."""

    trains = True
    knob = "keep"

    keep: float = param(0.1, "share of the weights that survive, of all layers together", above=0, at_most=1)
    section: str = param("all", "layers that are masked", choices=SECTIONS)

    @abstractmethod
    def masks(self, network: nn.Module, layers: Sequence[Layer], task: Task) -> list[Tensor]:
        """One mask per layer of the untrained network, which stays as it is."""

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network`, back at its start, masked and trained in place."""
        from prunebench_methods.shared import masking
        from prunebench_methods.shared.rewinding import beginning

        layers = masking.writable_layers(network, task, weight_refusals(task.shapes, self.section))
        network.load_state_dict(beginning(network, task))
        masking.apply(layers, self.masks(network, list(layers.values()), task), task)
        if not task.fit(network, **task.train_recipe()):
            task.note("not trained: the recipe of the dense network has no epochs")
        return network

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """The exact total of a global mask, in even shares."""
        return evenly_masked_counts(shapes, self.section, self.keep)

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`)."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
