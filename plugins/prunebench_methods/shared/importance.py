"""What a layer's responses are worth: the metric in which a change of them changes the network's outputs.

Letters: a response has m entries; S (m, m) is the mean over samples of J' F J, with J the derivative of the outputs by
the response and F the curvature of the objective's loss by the outputs: diag(p) - p p' of the probabilities p for
classes and tokens. A change δ of it then moves the outputs by a Kullback-Leibler divergence of about δ' S δ / 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from prunebench import NotApplicable, Task, samples
from torch import Tensor, nn

from prunebench_methods.shared.calibration import Inputs, batches_of, channel_rows, watched

BATCH = 32  # samples in one backward pass
DAMPING = 0.1  # of the mean of S's diagonal, added to it: what did not matter may do so in a pruned network


@dataclass(frozen=True)
class Importance:
    """S as directions (m, k) with their `values` (k,) and a `floor` for every direction; without any, the identity."""

    directions: Tensor | None = None
    values: Tensor | None = None
    floor: float = 1.0

    def times(self, columns: Tensor, power: float) -> Tensor:
        """S to this power times columns (m, q)."""
        if self.directions is None or self.values is None:
            return columns
        base = self.floor**power
        beyond = (self.values + self.floor) ** power - base
        result: Tensor = base * columns + self.directions @ (beyond[:, None] * (self.directions.T @ columns))
        return result

    def diagonal(self, weight: Tensor) -> Tensor:
        """(m,): what single responses of a layer with this weight (m, n) are worth."""
        if self.directions is None or self.values is None:
            return torch.ones_like(weight[:, 0])
        return self.floor + self.directions.square() @ self.values

    @property
    def mean(self) -> float:
        """What a response is worth, on average."""
        if self.directions is None or self.values is None:
            return 1.0
        return self.floor + float(self.values.sum()) / len(self.directions)

    def damped_by(self, share: float) -> Importance:
        """With another floor, `share` of the mean of S's diagonal, instead of `DAMPING`."""
        return self if self.directions is None else replace(self, floor=self.floor * share / DAMPING)


ALIKE = Importance()


def importances(network: nn.Module, task: Task, names: Iterable[str]) -> dict[str, Importance]:
    """Layer -> the importance of its responses in the dense network, once for a whole sweep.

    A layer from which no gradient reaches the outputs has all its responses alike. Raises `NotApplicable` where the
    network's answers are no tensor and have none as `logits`.
    """
    names = tuple(names)
    return task.once(("importance", names), lambda: _importances(network, task, names))


def _importances(network: nn.Module, task: Task, names: tuple[str, ...]) -> dict[str, Importance]:
    gradients = {name: Inputs() for name in names}
    kinds = {name: type(network.get_submodule(name)) for name in names}

    def see(name: str, inputs: Tensor, outputs: Tensor) -> None:
        if outputs.requires_grad:
            outputs.register_hook(lambda gradient: gradients[name].add(channel_rows(gradient, kinds[name])))

    generator = torch.Generator().manual_seed(task.seed)
    with torch.enable_grad(), watched(network, names, see, detached=False):
        for batch in batches_of(task, BATCH):
            inputs = samples.mapped(_watchable, batch)
            answers = samples.call(network, inputs)
            outputs = answers if isinstance(answers, Tensor) else getattr(answers, "logits", None)
            if not isinstance(outputs, Tensor):
                raise NotApplicable(
                    f"the network answers with a {type(answers).__name__}, not with a tensor of outputs"
                )
            if outputs.requires_grad:
                direction = task.objective.spread(outputs.detach(), generator)
                torch.autograd.grad(outputs, _sources(network, inputs), direction, allow_unused=True)
    return {name: _damped(seen) for name, seen in gradients.items()}


def _watchable(leaf: Tensor) -> Tensor:
    return leaf.detach().clone().requires_grad_(leaf.is_floating_point())


def _sources(network: nn.Module, inputs: samples.Tree) -> list[Tensor]:
    """What the backward pass goes back to, past every layer: the inputs, or, of tokens, the embeddings."""
    found = [leaf for leaf in samples.leaves(inputs) if leaf.requires_grad]
    if found:
        return found
    tables = [module.weight for module in network.modules() if isinstance(module, nn.Embedding)]
    wanted = [weight for weight in tables if weight.requires_grad]
    return wanted or [weight for weight in network.parameters() if weight.requires_grad]


def _damped(seen: Inputs) -> Importance:
    if not seen.has_rows:
        return ALIKE
    values, directions = seen.components(centred=False)
    floor = DAMPING * float(values.sum()) / len(directions)
    return Importance(directions, values, floor) if floor > 0 else ALIKE
