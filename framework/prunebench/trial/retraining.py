"""What a pruned network is trained again by: fine-tuning, the dense training's end once more, or all of it anew.

Renda et al. (2020) go back by t epochs of the dense training, with the weights of then or only the learning rates, and
train to its end; Liu et al. (2019) train what pruning left from a fresh start, for as many epochs as the dense network
or for as much compute. All of them train by the dense network's recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.errors import NotApplicable
from prunebench.measure.counts import mac_count
from prunebench.randomness import seeded
from prunebench.recipe import Recipe
from prunebench.records import Protocol
from prunebench.trial.weights import load_weights
from prunebench.trial.workbench import DenseNetwork


@dataclass(frozen=True)
class Retraining:
    """The recipe, the epochs of it that are behind already, and what a reader should know."""

    recipe: Recipe
    first_epoch: int = 0
    note: str = ""


def prepared(
    network: nn.Module, dense: DenseNetwork, protocol: Protocol, seed: int, then: Callable[[int], Mapping[str, Any]]
) -> Retraining:
    """Set the pruned `network` back as the protocol says, in place; zeros stay zeros.

    `then` gives the dense network's state after so many steps of its training, `seed` draws fresh weights.

    Raises `NotApplicable` where the weights of then do not fit what pruning left, or are not known.
    """
    mode, train = protocol.retraining, _halved(protocol)
    if mode == "finetune":
        return Retraining(protocol.finetune)
    back = protocol.finetune.epochs
    if mode == "rewind_lr":
        return Retraining(replace(train, epochs=back), train.epochs - back)
    if mode == "rewind_weights":
        done = (train.epochs - back) * math.ceil(len(dense.splits.train) / protocol.train.batch_size)
        _set_back(network, then(done))
        return Retraining(replace(train, epochs=back), train.epochs - back)
    _start_anew(network, dense, seed)
    if mode == "scratch_epochs":
        return Retraining(train)
    return _as_much_compute(network, dense, train)


def _halved(protocol: Protocol) -> Recipe:
    """The dense network's recipe, its batch halved where a trial that ran out of memory asks that of fine-tuning."""
    shrunk = protocol.finetune.batch_size < Recipe().batch_size and protocol.retraining != "finetune"
    train = protocol.train
    return replace(train, batch_size=max(1, train.batch_size // 2)) if shrunk else train


def _as_much_compute(network: nn.Module, dense: DenseNetwork, train: Recipe) -> Retraining:
    """As many more epochs as a sample costs less, at least the recipe's own; its schedule is stretched along."""
    own, whole = mac_count(network, dense.example), dense.counts.mac_count
    if own is None or whole is None:
        raise NotApplicable("its multiply-accumulates cannot be counted: equal compute has no number of epochs")
    times = max(1.0, whole / max(1, own))
    longer: dict[str, Any] = {
        "epochs": round(train.epochs * times),
        "milestones": tuple(sorted({round(place * times) for place in train.milestones})),
        "step_epochs": round(train.step_epochs * times),
        "warmup": round(train.warmup * times),
    }
    note = "" if times > 1 else "trained as long as the dense network: a sample costs as many multiply-accumulates"
    return Retraining(replace(train, **longer), note=note)


def _set_back(network: nn.Module, then: Mapping[str, Any]) -> None:
    """Weights and buffers of then, with the zeros of now."""
    if _shapes(then) != _shapes(network.state_dict()):
        raise NotApplicable("the earlier weights do not fit: pruning changed the layers (rewind_lr works with any)")
    _load_under_zeros(network, then)


def _start_anew(network: nn.Module, dense: DenseNetwork, seed: int) -> None:
    """Fresh weights with the zeros of now: the model's own start where it fits, else each layer's."""
    fresh = dense.fresh(seed)
    if _shapes(fresh) == _shapes(network.state_dict()):
        _load_under_zeros(network, fresh)
        return
    kept = {name: value.clone() for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    with seeded(seed, next(network.parameters()).device):
        for name, module in network.named_modules():
            own = list(module.parameters(recurse=False))
            if own and not hasattr(module, "reset_parameters"):
                raise NotApplicable(f"{name} ({type(module).__name__}) does not know how it is initialised")
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    _zero_where(network, kept)


def _load_under_zeros(network: nn.Module, state: Mapping[str, Any]) -> None:
    kept = {name: value.clone() for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    load_weights(network, state)
    _zero_where(network, kept)


@torch.no_grad()
def _zero_where(network: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Zeros of matrices and kernels that stood in `before`; fresh vectors are free."""
    for name, weight in network.named_parameters():
        if weight.dim() > 1 and name in before:
            weight.masked_fill_(before[name] == 0, 0)


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.shape for name, value in state.items() if isinstance(value, Tensor)}
