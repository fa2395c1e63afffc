"""How lottery tickets and their controls are found, set back and trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from prunebench import Task
from torch import Tensor, nn

from prunebench_methods.shared.exact import kept_count, share_after
from prunebench_methods.shared.masking import global_masks, highest, magnitude_masks, random_scores
from prunebench_methods.shared.replace import Layer
from prunebench_methods.shared.rewinding import beginning

Masks = dict[str, Tensor]  # layer name -> what survives
State = dict[str, Tensor]  # what survivors are set back to; empty to go on from where they are


class Ticket(NamedTuple):
    """What is to be found: the words are those of `LotteryTicket`, `shares` what each layer keeps after each round."""

    keep: float
    rounds: int
    rewind: str
    step: int
    control: str
    scope: str
    shares: Sequence[Mapping[str, float]]


def train(network: nn.Module, layers: Mapping[str, Layer], ticket: Ticket, task: Task) -> None:
    """Find the ticket's mask and train `network` under it, in place."""
    start = beginning(network, task, ticket.step) if ticket.rewind == "weights" else {}
    if _is_drawn(ticket):
        _train_under(network, layers, _drawn_masks(layers, ticket, task), start, ticket, task)
        return
    for done in range(1, ticket.rounds + 1):
        masks = _largest(layers, ticket, task, done)
        if done == ticket.rounds:
            masks, start = _controlled(masks, start, ticket, task.generator)
        _train_under(network, layers, masks, start, ticket, task)


def _is_drawn(ticket: Ticket) -> bool:
    """Whether all that training would tell, the number of weights in each layer, is known before."""
    return ticket.control == "random" or (ticket.control == "shuffle" and ticket.scope == "layer")


def _drawn_masks(layers: Mapping[str, Layer], ticket: Ticket, task: Task) -> Masks:
    is_global = ticket.scope == "global"
    scores = random_scores([layer.weight for layer in layers.values()], task.generator, together=is_global)
    if is_global:
        return dict(zip(layers, global_masks(scores, ticket.keep), strict=True))
    return _highest(dict(zip(layers, scores, strict=True)), ticket.shares[-1])


def _largest(layers: Mapping[str, Layer], ticket: Ticket, task: Task, done: int) -> Masks:
    """The largest of what is left: what earlier rounds have zeroed is smaller than all of it."""
    if ticket.scope == "global":
        keep = share_after(done, ticket.rounds, ticket.keep)
        return dict(zip(layers, magnitude_masks(layers, keep, "global"), strict=True))
    sizes = {name: layer.weight.detach().abs() for name, layer in layers.items()}
    return _highest(sizes, ticket.shares[done - 1])


def _highest(scores: Mapping[str, Tensor], keeps: Mapping[str, float]) -> Masks:
    return {name: highest(score, kept_count(keeps[name], score.numel())) for name, score in scores.items()}


def _controlled(masks: Masks, start: State, ticket: Ticket, generator: torch.Generator) -> tuple[Masks, State]:
    """The last mask and what is under it, with the one or the other in another order within each layer."""
    if ticket.control == "shuffle":
        return {name: _shuffled(mask, generator) for name, mask in masks.items()}, start
    if ticket.control == "reinitialise":
        weights = {_weight_name(name): _shuffled(start[_weight_name(name)], generator) for name in masks}
        mixed = copy.copy(start)  # a state_dict also holds the versions of the network's modules
        mixed.update(weights)
        return masks, mixed
    return masks, start


def _weight_name(layer: str) -> str:
    return f"{layer}.weight" if layer else "weight"


def _shuffled(values: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(values.numel(), generator=generator).to(values.device)
    return values.flatten()[order].view(values.shape)


def _train_under(
    network: nn.Module, layers: Mapping[str, Layer], masks: Masks, start: State, ticket: Ticket, task: Task
) -> None:
    """Set back, mask, train: by the dense network's recipe, or the fine-tuning one where nothing is rewound."""
    if start:
        network.load_state_dict(start)
    for name, mask in masks.items():
        layers[name].weight.detach().masked_fill_(~mask, 0)
    task.fit(network, **({} if ticket.rewind == "none" else task.train_recipe()))
