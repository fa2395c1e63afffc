"""`torch.nn.utils.prune`, which comes with PyTorch: masks by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_peers.adapters import SECTIONS, handed, refusal

if TYPE_CHECKING:
    from torch import nn

DOCS = "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.{}.html"


@dataclass(frozen=True)
class _Unstructured(Method):
    """Single weights of each layer become zero: `round(amount * n)` of n."""

    knob = "amount"

    amount: float = param(0.5, "share of a layer's weights that become zero", above=0, below=1)
    section: str = param("all", "layers that are pruned", choices=SECTIONS)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with the library's masks on it."""
        from prunebench_peers import torch_prune_calls

        names = handed(task, self.section)
        return torch_prune_calls.pruned(network, names, self.name.removeprefix("peer_torch_"), task, amount=self.amount)

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts]:
        """The weights that are left, and every bias."""
        return [self._left(shape) for shape in shapes]

    def _left(self, shape: LayerShape) -> LayerCounts:
        why = refusal(shape, self.section)
        if why:
            return LayerCounts.unchanged(shape, why)
        nonzero = shape.parameter_count - round(self.amount * shape.weight_count)
        return LayerCounts(shape.name, shape.parameter_count, nonzero, shape.mac_count)


@dataclass(frozen=True)
class L1Unstructured(_Unstructured):
    """`torch.nn.utils.prune.l1_unstructured`: the smallest absolute values of each layer become zero."""

    name = "peer_torch_l1_unstructured"
    paper = DOCS.format("l1_unstructured")


@dataclass(frozen=True)
class RandomUnstructured(_Unstructured):
    """`torch.nn.utils.prune.random_unstructured`: a control, weights drawn at random become zero."""

    name = "peer_torch_random_unstructured"
    paper = DOCS.format("random_unstructured")
    stochastic = True


@dataclass(frozen=True)
class _Structured(Method):
    """Whole channels of each layer become zero; the last layer's outputs are the classes and stay."""

    amount: float = param(0.3, "share of a layer's channels that become zero", above=0, below=1)
    dim: int = param(0, "0 zeroes output channels, 1 input channels", choices=(0, 1))
    section: str = param("all", "layers that are pruned", choices=SECTIONS)

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network` with the library's masks on it."""
        from prunebench_peers import torch_prune_calls

        names = handed(task, self.section)
        names = torch_prune_calls.with_channels_to_spare(network, names, self.dim, self.amount, task)
        call = self.name.removeprefix("peer_torch_")
        return torch_prune_calls.pruned(network, names, call, task, amount=self.amount, dim=self.dim, **self._more())

    def _more(self) -> dict[str, float]:
        return {}


@dataclass(frozen=True)
class LnStructured(_Structured):
    """`torch.nn.utils.prune.ln_structured`: the channels of smallest norm become zero."""

    name = "peer_torch_ln_structured"
    paper = DOCS.format("ln_structured")

    n: float = param(2.0, "the norm's order", above=0)

    def _more(self) -> dict[str, float]:
        return {"n": self.n}


@dataclass(frozen=True)
class RandomStructured(_Structured):
    """`torch.nn.utils.prune.random_structured`: a control, channels drawn at random become zero."""

    name = "peer_torch_random_structured"
    paper = DOCS.format("random_structured")
    stochastic = True


METHODS: list[type[Method]] = [L1Unstructured, RandomUnstructured, LnStructured, RandomStructured]
