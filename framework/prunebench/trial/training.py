"""One loop: training and fine-tuning."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.errors import InvalidOutput
from prunebench.measure.scores import checked_numbers, gathered, judged_batches
from prunebench.plugins.contracts import Objective, weighted_mean
from prunebench.records import CurvePoint, Recipe
from prunebench.splits import Split
from prunebench.trial.augmentation import Augmenter
from prunebench.trial.averaging import Average
from prunebench.trial.losses import Losses
from prunebench.trial.schedules import DTYPES, Stepper, optimizer_of, schedule_of

BLOCK = 16  # channels that a kernel of AVX-512 takes at once; AVX2 takes 8


@contextlib.contextmanager
def channels_last(network: nn.Module) -> Iterator[None]:
    """Hold convolutions' weights in the layout that kernels like best; back in the usual one at the end."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions or any(map(_overruns, convolutions)):
        yield
        return
    network._apply(_channels_last)
    try:
        yield
    finally:
        network.to(memory_format=torch.contiguous_format)


def _overruns(layer: nn.Conv2d) -> bool:
    """Whether its gradient in that layout writes past its memory on a CPU (oneDNN, issue 6035), killing the process."""
    is_strided = max(layer.kernel_size) == 1 and max(layer.stride) > 1
    return is_strided and layer.in_channels // layer.groups < BLOCK and layer.weight.device.type == "cpu"


def _channels_last(values: Tensor) -> Tensor:
    """Only what has four axes: `Module.to` also tries the five of a 3-D convolution, and fails."""
    return values.to(memory_format=torch.channels_last) if values.dim() == 4 else values


@dataclass(frozen=True)
class Course:
    """How one training goes beyond its recipe: where, how far, and who is told."""

    device: torch.device | str = "cpu"
    phase: Literal["train", "finetune"] = "train"  # as the curve's points say
    keep_zeros: bool = False  # weights that are zero at the start stay exactly zero, whatever the optimizer does
    max_steps: int | None = None  # the optimizer's; None for as many as the recipe takes
    after_step: Callable[[], None] = lambda: None
    extra_loss: Callable[[], Tensor] | None = None  # added to each batch's for the gradient, and not in the curve
    teacher: nn.Module | None = None  # the dense network, for recipes that learn from it
    first_epoch: int = 0  # epochs of the recipe that are behind: learning rates go on from there
    breathe: Callable[[], None] = lambda: None  # called between batches: others may take their turn
    on_epoch: Callable[[int], None] = lambda epoch: None


FIRST_TRAINING = Course()


def fit(
    network: nn.Module,
    train: Split,
    validation: Split,
    recipe: Recipe,
    *,
    objective: Objective,
    generator: torch.Generator,
    course: Course = FIRST_TRAINING,
) -> tuple[CurvePoint, ...]:
    """Train `network` in place by the objective's loss and return its curve.

    It is left in evaluation mode, without gradients. With patience the weights of the best validation loss are
    restored. Raises FloatingPointError where the loss is not finite.
    """
    trained = [p for p in network.parameters() if p.requires_grad and p.is_floating_point()]
    if not trained or not (recipe.trains or course.max_steps is not None):
        return ()
    with channels_last(network):
        loop = _Loop(network, train, validation, recipe, objective, generator, course)
        curve = loop.run(trained, _zero_masks(network) if course.keep_zeros else [])
    network.zero_grad(set_to_none=True)  # as large as the network, and of no use to what comes next
    network.eval()
    return curve


def epochs_done(recipe: Recipe, train_count: int) -> Callable[[int], float]:
    """The share of the recipe that is done after so many epochs."""
    by_steps = math.ceil(recipe.steps * recipe.batch_size / max(1, train_count))
    whole = max(1, by_steps if recipe.steps else recipe.epochs)
    return lambda epoch: min(1.0, epoch / whole)


@dataclass
class _Loop:
    """The state of one call of `fit`."""

    network: nn.Module
    train: Split
    validation: Split
    recipe: Recipe
    objective: Objective
    generator: torch.Generator
    course: Course
    steps: int = 0

    def __post_init__(self) -> None:
        self.losses = Losses(self.objective, self.recipe, self.course.teacher)
        self.augment = Augmenter.of(self.recipe.augment, self.train, self.generator)
        self.average = Average.of(self.network, self.recipe.ema)
        compiled = cast("nn.Module", torch.compile(self.network)) if self.recipe.compile else None
        self.forward = self.network if compiled is None else compiled

    def run(self, trained: list[nn.Parameter], zeros: list[tuple[nn.Parameter, Tensor]]) -> tuple[CurvePoint, ...]:
        """Epochs until the recipe, the patience or the steps run out; the best weights where there is patience."""
        stepper = self._stepper(trained)
        curve: list[CurvePoint] = []
        best_state: dict[str, Tensor] | None = None
        for epoch in range(1, self._epoch_count() + 1):
            started = time.monotonic()
            loss = self._epoch(stepper, zeros)
            point = self._point(epoch, loss, started)
            curve.append(point)
            self.course.on_epoch(epoch)
            if self.recipe.patience and _best_epoch(curve) == epoch:
                best_state = copy.deepcopy(self._judged.state_dict())
            if self._is_over() or (self.recipe.patience and epoch - _best_epoch(curve) >= self.recipe.patience):
                break
        if best_state is not None or self.average is not None:
            self.network.load_state_dict(best_state if best_state is not None else self._judged.state_dict())
        return tuple(curve)

    def _stepper(self, trained: list[nn.Parameter]) -> Stepper:
        epoch_steps, behind = math.ceil(len(self.train) / self.recipe.batch_size), self.course.first_epoch
        usual = (self._epoch_count() + behind) * epoch_steps
        optimizer = optimizer_of(trained, self.recipe)
        schedule = schedule_of(optimizer, self.recipe, self.recipe.steps or usual, epoch_steps, behind * epoch_steps)
        return Stepper(trained, optimizer, schedule, self.recipe, self.course.device)

    @property
    def _judged(self) -> nn.Module:
        """What is scored and kept: the average of the weights where the recipe wants one."""
        return self.network if self.average is None else self.average.network

    @property
    def _step_limit(self) -> int | None:
        return self.recipe.steps or None if self.course.max_steps is None else self.course.max_steps

    def _loss(self, stepper: Stepper, inputs: samples.Tree, targets: samples.Tree) -> Tensor:
        """Of a batch in training mode, in which some networks return more than in evaluation."""
        mix = None
        if self.augment is not None:
            inputs, mix = self.augment(inputs)
        with stepper.computing():
            outputs = samples.call(self.forward, inputs)
            low = isinstance(outputs, Tensor) and outputs.dtype in DTYPES.values()
            return self.losses(outputs.float() if low else outputs, inputs, targets, mix)

    def _epoch_count(self) -> int:
        limit = self._step_limit
        if limit is None:
            return self.recipe.epochs
        if self.recipe.steps:
            return math.ceil(limit / self._steps_an_epoch())
        return max(1, self.recipe.epochs, math.ceil(limit * self.recipe.batch_size / len(self.train)))

    def _steps_an_epoch(self) -> int:
        """A last batch of one sample is left out."""
        whole, rest = divmod(len(self.train), self.recipe.batch_size)
        return max(1, whole + (rest > 1))

    def _is_over(self) -> bool:
        limit = self._step_limit
        return limit is not None and self.steps >= limit

    def _point(self, epoch: int, train_loss: float, started: float) -> CurvePoint:
        found = validation_scores(
            self._judged, self.validation, self.objective, self.course.device, self.course.breathe
        )
        if not math.isfinite(train_loss):
            raise FloatingPointError(f"the training loss is {train_loss} in epoch {epoch}: lower the learning rate")
        seconds = time.monotonic() - started
        return CurvePoint(self.course.phase, epoch, train_loss, found.loss, found.top1_accuracy, seconds, found.score)

    def _epoch(self, stepper: Stepper, zeros: list[tuple[nn.Parameter, Tensor]]) -> float:
        """One pass over the training data; the mean loss."""
        self.network.train()
        total = torch.zeros((), device=self.course.device)
        seen = 0
        for inputs, targets in self.train.batches(self.recipe.batch_size, self.course.device, self.generator):
            if self._is_over():
                break
            count = samples.count(targets)
            if count == 1 and seen:  # batch normalisation cannot train on a last batch of one sample
                continue
            loss = self._loss(stepper, inputs, targets)
            stepper.take(loss if self.course.extra_loss is None else loss + self.course.extra_loss())
            _restore_zeros(zeros)
            if self.average is not None:
                self.average.take_in(self.network)
            self.course.after_step()
            self.steps += 1
            total += loss.detach() * count
            seen += count
            self.course.breathe()
        return float(total) / max(1, seen)


@dataclass(frozen=True)
class ValidationScores:
    """What stands in a curve: the mean loss, the headline, and top-1 accuracy where the objective has it."""

    loss: float
    score: float | None = None
    top1_accuracy: float | None = None


def validation_scores(
    network: nn.Module,
    split: Split,
    objective: Objective,
    device: torch.device | str,
    breathe: Callable[[], None] = lambda: None,
) -> ValidationScores:
    """The split's mean loss and headline in evaluation mode; 0 and none of an empty split.

    The loss is the objective's `loss` where it judges one, else the weighted mean of `value`.
    """
    if not len(split):
        return ValidationScores(0.0)
    network.eval()
    with torch.inference_mode():
        judged = list(judged_batches(network, split, objective, device, breathe=breathe))
    try:
        numbers = checked_numbers(objective, objective.scores(gathered(iter(judged))))
    except InvalidOutput:  # as of a network that diverges: training itself says so
        numbers = {}
    loss = _mean_loss(judged, len(split), objective, numbers)
    return ValidationScores(loss, numbers.get(objective.score), numbers.get("top1_accuracy"))


def _mean_loss(judged: list[dict[str, Tensor]], count: int, objective: Objective, numbers: dict[str, float]) -> float:
    """What patience watches: smaller is better."""
    if "loss" in judged[0]:
        return sum(float(batch["loss"].sum()) for batch in judged) / count
    if objective.paired == "values":
        return weighted_mean(gathered(iter(judged)))
    score = numbers.get(objective.score, math.nan)
    return -score if objective.larger_is_better else score


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
