"""One loop: training and fine-tuning."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench.records import CurvePoint, Recipe
from prunebench.splits import Split


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
    """Train `network` in place with cross-entropy and return its curve; it is left in evaluation mode.

    `keep_zeros` holds weights that are zero at the start at exactly zero, whatever the optimizer's momentum or weight
    decay would do. With patience the weights of the best validation loss are restored. Raises FloatingPointError
    where the loss is not finite.
    """
    trained = [p for p in network.parameters() if p.requires_grad and p.is_floating_point()]
    if not trained or (recipe.epochs == 0 and max_steps is None):
        return ()
    zeros = _zero_masks(network) if keep_zeros else []
    optimizer = _optimizer(trained, recipe)
    epochs = (
        recipe.epochs
        if max_steps is None
        else max(1, recipe.epochs, math.ceil(max_steps * recipe.batch_size / len(train)))
    )
    schedule = _schedule(optimizer, recipe, epochs * math.ceil(len(train) / recipe.batch_size))
    curve: list[CurvePoint] = []
    best, best_state, steps = math.inf, None, 0
    for epoch in range(1, epochs + 1):
        started = time.monotonic()
        network.train()
        total = torch.zeros((), device=device)
        seen = 0
        for images, labels in train.batches(recipe.batch_size, device, generator):
            if max_steps is not None and steps >= max_steps:
                break
            if len(labels) == 1 and seen:  # batch normalisation cannot train on a last batch of one sample
                continue
            loss = functional.cross_entropy(network(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            _restore_zeros(zeros)
            after_step()
            steps += 1
            total += loss.detach() * len(labels)
            seen += len(labels)
            breathe()
        point = _point(network, validation, phase, epoch, float(total) / max(1, seen), device, started, breathe)
        curve.append(point)
        on_epoch(epoch)
        if recipe.patience:
            if point.validation_loss < best:
                best, best_state = point.validation_loss, copy.deepcopy(network.state_dict())
            elif epoch - _best_epoch(curve) >= recipe.patience:
                break
        if max_steps is not None and steps >= max_steps:
            break
    if best_state is not None:
        network.load_state_dict(best_state)
    network.eval()
    return tuple(curve)


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
            logits = network(images).float()
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
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, foreach=True)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps))
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
