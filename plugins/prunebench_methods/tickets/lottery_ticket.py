"""Lottery tickets: masks found by training, trained again from the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunebench import LayerCounts, LayerShape, Method, Task, param

from prunebench_methods.masks.mask import SCOPES, evenly_masked_counts, masked, weight_refusals
from prunebench_methods.shared.exact import kept_count, share_after
from prunebench_methods.shared.selection import SECTIONS

if TYPE_CHECKING:
    from torch import nn

REWINDS = ("weights", "lr", "none")
CONTROLS = ("none", "reinitialise", "shuffle", "random")


@dataclass(frozen=True)
class LotteryTicket(Method):
    """Prune the smallest weights in rounds, each time setting the rest back and training anew (Frankle, Carbin, 2019).

    Starts from the trained dense network. `rewind` says to what: the weights of step `step` (the paper's tickets, and
    late rewinding), the trained weights with the dense recipe's learning rates ("lr"; Renda et al., 2020), or the
    trained weights with the fine-tuning recipe ("none"). Training is always as long as the recipe says, also from a
    late step. The output layer is pruned at half the rate, with global scope like any other.

    Controls keep the number of weights and ask what matters (Frankle et al., 2021): "reinitialise" puts the layer's
    initial weights in another order under the found mask, "shuffle" moves the mask within each layer, "random" draws
    it over layers alike; where the counts are known before, the last two train once.
    """

    name = "lottery_ticket"
    paper = "https://arxiv.org/abs/1803.03635"
    stochastic = True
    trains = True
    knob = "keep"

    keep: float = param(0.2, "share of the weights in the last ticket", above=0, at_most=1)
    rounds: int = param(5, "times of pruning and training; the paper prunes 20 % a round", at_least=1, at_most=100)
    output_rate: float = param(0.5, "the output layer's pruning rate, of the others'", at_least=0, at_most=1)
    rewind: str = param("weights", "what the survivors are set back to before they train", choices=REWINDS)
    step: int = param(0, "the optimizer step that weights are rewound to; 0 is initialisation", at_least=0)
    control: str = param(  # type: ignore[misc,assignment]  # the grid's word since 0.1.0; no baseline of charts
        "none", "what is put at random instead of what was found", choices=CONTROLS
    )
    scope: str = param("layer", "shares are of every weight tensor, or of all together", choices=SCOPES)
    section: str = param("all", "layers that are masked", choices=SECTIONS)

    def check(self) -> None:
        """Refuse settings of which one would have no effect."""
        if self.step and self.rewind != "weights":
            raise ValueError(f"step {self.step} needs rewind = 'weights', got {self.rewind!r}")
        is_late = self.control == "reinitialise" or (self.control == "shuffle" and self.scope == "global")
        if is_late and self.rewind != "weights":
            raise ValueError(f"control {self.control!r} needs rewind = 'weights', got {self.rewind!r}")

    def prune(self, network: nn.Module, task: Task) -> nn.Module:
        """`network`, masked and trained in place."""
        from prunebench_methods.shared import masking
        from prunebench_methods.tickets import tickets

        layers = masking.writable_layers(network, task, weight_refusals(task.shapes, self.section))
        shares = [self.keeps(task.shapes, done) for done in range(1, self.rounds + 1)]
        ticket = tickets.Ticket(self.keep, self.rounds, self.rewind, self.step, self.control, self.scope, shares)
        tickets.train(network, layers, ticket, task)
        return network

    def keeps(self, shapes: Sequence[LayerShape], done: int) -> dict[str, float]:
        """Layer name -> the share that is left after `done` rounds."""
        linear = [shape.name for shape in shapes if shape.kind == "linear"]
        share = share_after(done, self.rounds, self.keep)
        if self.control == "random":
            return {shape.name: share for shape in shapes}
        rate = 1 - self.keep ** (1 / self.rounds)
        spared = (1 - rate * self.output_rate) ** done if self.output_rate < 1 else share
        return {shape.name: spared if linear and shape.name == linear[-1] else share for shape in shapes}

    def counts(self, shapes: Sequence[LayerShape]) -> list[LayerCounts] | None:
        """Exact by layer; of global shares only the total is known before, spread evenly."""
        if self.scope == "global":
            return evenly_masked_counts(shapes, self.section, self.keep)
        reasons, keeps = weight_refusals(shapes, self.section), self.keeps(shapes, self.rounds)
        kept = {shape.name: kept_count(keeps[shape.name], shape.weight_count) for shape in shapes}
        return [masked(shape, reasons[shape.name], kept[shape.name]) for shape in shapes]

    def storage(self, network: nn.Module) -> dict[str, int]:
        """Bytes by format (`storage_formats`)."""
        from prunebench_methods.shared.storage import storage_formats

        return storage_formats(network)
