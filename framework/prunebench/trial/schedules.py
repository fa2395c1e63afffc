"""The optimizer of a recipe, its learning rates step by step, and one step in the recipe's precision."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from prunebench.recipe import Recipe

FIRST_SHARE = 0.01  # of the learning rate, at the first step of a warm-up
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def optimizer_of(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Fused: one pass over the weights, where `foreach` allocates and pages in several copies of a large network."""
    lr, decay = recipe.lr, recipe.weight_decay
    groups = parameters if recipe.decay == "all" else _apart(parameters)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=lr, momentum=recipe.momentum, weight_decay=decay, nesterov=recipe.nesterov, fused=True
        )
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=lr, weight_decay=decay, fused=True)


def _apart(parameters: list[nn.Parameter]) -> list[dict[str, object]]:
    """Matrices and kernels, which decay, and vectors (biases, norms), which do not."""
    decaying = [p for p in parameters if p.dim() > 1]
    free = [p for p in parameters if p.dim() <= 1]
    groups: list[dict[str, object]] = [{"params": decaying}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def schedule_of(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int, epoch_steps: int, done: int = 0
) -> lr_scheduler.LRScheduler:
    """The learning rates of a training of `steps` steps, `epoch_steps` an epoch, of which `done` are behind."""
    unit = 1 if recipe.steps else epoch_steps
    rising = recipe.warmup * unit
    schedule = _main(optimizer, recipe, max(1, steps - rising), unit, rising)
    if rising:
        rise = lr_scheduler.LinearLR(optimizer, FIRST_SHARE, total_iters=rising)
        schedule = lr_scheduler.SequentialLR(optimizer, [rise, schedule], [rising])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a schedule that moves before the optimizer does
        for _ in range(done):
            schedule.step()
    return schedule


def _main(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int, unit: int, rising: int
) -> lr_scheduler.LRScheduler:
    """What follows the warm-up; milestones count from the beginning of the training."""
    if recipe.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if recipe.schedule == "one_cycle":
        return lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps, cycle_momentum=False)
    milestones = [place * unit - rising for place in recipe.milestones]
    if recipe.schedule == "step":
        each = recipe.step_epochs * unit
        milestones = [place - rising for place in range(each, steps + rising, each)]
    if milestones:
        return lr_scheduler.MultiStepLR(optimizer, milestones, recipe.gamma)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)


@dataclass
class Stepper:
    """Backward pass and optimizer step, with the recipe's precision, clipping and schedule."""

    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: lr_scheduler.LRScheduler
    recipe: Recipe
    device: torch.device | str
    scaler: torch.amp.GradScaler | None = None

    def __post_init__(self) -> None:
        if self.recipe.precision == "float16":
            self.scaler = torch.amp.GradScaler(torch.device(self.device).type)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Layers compute in the recipe's precision inside."""
        dtype = DTYPES.get(self.recipe.precision)
        with torch.autocast(torch.device(self.device).type, dtype, enabled=dtype is not None):
            yield

    def take(self, loss: Tensor) -> None:
        """One step down the loss's gradient; in float16, none where it is not finite: the scale is halved."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.scaler is None:
            loss.backward()
            self._clip()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            if self.recipe.clip:
                self.scaler.unscale_(self.optimizer)
                self._clip()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a step that float16 skipped still moves the schedule
            self.schedule.step()

    def _clip(self) -> None:
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
