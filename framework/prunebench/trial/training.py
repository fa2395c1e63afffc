"""One loop: training and fine-tuning."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench.records import CurvePoint, Recipe
from prunebench.splits import Split
from prunebench.trial.networks import logits_of


@contextlib.contextmanager
def channels_last(network: nn.Module) -> Iterator[None]:
    """Hold convolutions' weights in the layout that kernels like best; back in the usual one at the end."""
    if not any(isinstance(module, nn.Conv2d) for module in network.modules()):
        yield
        return
    network._apply(_channels_last)
    try:
        yield
    finally:
        network.to(memory_format=torch.contiguous_format)


def _channels_last(values: Tensor) -> Tensor:
    """Only what has four axes: `Module.to` also tries the five of a 3-D convolution, and fails."""
    return values.to(memory_format=torch.channels_last) if values.dim() == 4 else values


def fit(
    network: nn.Module,
    train: Split,
    validation: Split,
    recipe: Recipe,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    phase: Literal["train", "finetune"] = "train",
    keep_zeros: bool = False,
    max_steps: int | None = None,
    after_step: Callable[[], None] = lambda: None,
    breathe: Callable[[], None] = lambda: None,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> tuple[CurvePoint, ...]:
    """Train `network` in place with cross-entropy and return its curve.

    It is left in evaluation mode, without gradients. `keep_zeros` holds weights that are zero at the start at exactly
    zero, whatever the optimizer's momentum or weight decay would do. With patience the weights of the best validation
    loss are restored. Raises FloatingPointError where the loss is not finite.
    """
    trained = [p for p in network.parameters() if p.requires_grad and p.is_floating_point()]
    if not trained or (recipe.epochs == 0 and max_steps is None):
        return ()
    with channels_last(network):
        loop = _Loop(
            network, train, validation, recipe, generator, device, phase, max_steps, after_step, breathe, on_epoch
        )
        curve = loop.run(trained, _zero_masks(network) if keep_zeros else [])
    network.zero_grad(set_to_none=True)  # as large as the network, and of no use to what comes next
    network.eval()
    return curve


@dataclass
class _Loop:
    """The state of one call of `fit`."""

    network: nn.Module
    train: Split
    validation: Split
    recipe: Recipe
    generator: torch.Generator
    device: torch.device | str
    phase: Literal["train", "finetune"]
    max_steps: int | None
    after_step: Callable[[], None]
    breathe: Callable[[], None]
    on_epoch: Callable[[int], None]
    steps: int = 0

    def run(self, trained: list[nn.Parameter], zeros: list[tuple[nn.Parameter, Tensor]]) -> tuple[CurvePoint, ...]:
        """Epochs until the recipe, the patience or the steps run out; the best weights where there is patience."""
        optimizer = _optimizer(trained, self.recipe)
        epochs = self._epoch_count()
        schedule = _schedule(optimizer, self.recipe, epochs * math.ceil(len(self.train) / self.recipe.batch_size))
        curve: list[CurvePoint] = []
        best_state: dict[str, Tensor] | None = None
        for epoch in range(1, epochs + 1):
            started = time.monotonic()
            loss = self._epoch(optimizer, schedule, zeros)
            point = _point(self.network, self.validation, self.phase, epoch, loss, self.device, started, self.breathe)
            curve.append(point)
            self.on_epoch(epoch)
            if self.recipe.patience and _best_epoch(curve) == epoch:
                best_state = copy.deepcopy(self.network.state_dict())
            if self._is_over() or (self.recipe.patience and epoch - _best_epoch(curve) >= self.recipe.patience):
                break
        if best_state is not None:
            self.network.load_state_dict(best_state)
        return tuple(curve)

    def _epoch_count(self) -> int:
        if self.max_steps is None:
            return self.recipe.epochs
        return max(1, self.recipe.epochs, math.ceil(self.max_steps * self.recipe.batch_size / len(self.train)))

    def _is_over(self) -> bool:
        return self.max_steps is not None and self.steps >= self.max_steps

    def _epoch(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        zeros: list[tuple[nn.Parameter, Tensor]],
    ) -> float:
        """One pass over the training data; the mean loss."""
        self.network.train()
        total = torch.zeros((), device=self.device)
        seen = 0
        for images, labels in self.train.batches(self.recipe.batch_size, self.device, self.generator):
            if self._is_over():
                break
            if len(labels) == 1 and seen:  # batch normalisation cannot train on a last batch of one sample
                continue
            loss = functional.cross_entropy(logits_of(self.network(images)), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            _restore_zeros(zeros)
            self.after_step()
            self.steps += 1
            total += loss.detach() * len(labels)
            seen += len(labels)
            self.breathe()
        return float(total) / max(1, seen)


def _point(
    network: nn.Module,
    validation: Split,
    phase: Literal["train", "finetune"],
    epoch: int,
    train_loss: float,
    device: torch.device | str,
    started: float,
    breathe: Callable[[], None],
) -> CurvePoint:
    loss, accuracy = validation_scores(network, validation, device, breathe)
    if not math.isfinite(train_loss):
        raise FloatingPointError(f"the training loss is {train_loss} in epoch {epoch}: lower the learning rate")
    return CurvePoint(phase, epoch, train_loss, loss, accuracy, time.monotonic() - started)


def validation_scores(
    network: nn.Module, split: Split, device: torch.device | str, breathe: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Mean cross-entropy and top-1 accuracy in evaluation mode."""
    network.eval()
    loss, right, count = 0.0, 0, 0
    with torch.inference_mode():
        for images, labels in split.batches(256, device):
            logits = logits_of(network(images)).float()
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(1) == labels).sum())
            count += len(labels)
            breathe()
    return loss / max(1, count), right / max(1, count)


def _best_epoch(curve: list[CurvePoint]) -> int:
    return min(curve, key=lambda point: point.validation_loss).epoch


def _zero_masks(network: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """Weights with zeros, and where they are not zero; vectors (biases, norms) are free to move."""
    masks = [(p, p.detach() != 0) for p in network.parameters() if p.dim() > 1 and p.is_floating_point()]
    return [(weight, kept) for weight, kept in masks if not bool(kept.all())]


@torch.no_grad()
def _restore_zeros(zeros: list[tuple[nn.Parameter, Tensor]]) -> None:
    for weight, kept in zeros:
        weight.mul_(kept)


def _optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Fused: one pass over the weights, where `foreach` allocates and pages in several copies of a large network."""
    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=recipe.momentum, weight_decay=decay, fused=True)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, weight_decay=decay, fused=True)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps))
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
