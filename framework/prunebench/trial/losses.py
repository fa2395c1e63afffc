"""What a batch is trained by: the objective's loss, smoothed, of mixed images, and nearer to a teacher's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunebench import samples
from prunebench.errors import InvalidOutput, NotApplicable
from prunebench.plugins.contracts import Objective
from prunebench.recipe import Recipe
from prunebench.trial.augmentation import Mix

TEACHABLE = ("classification", "language_modelling")


@dataclass(frozen=True)
class Losses:
    """Losses of a recipe; `teacher` answers in evaluation mode, without gradients."""

    objective: Objective
    recipe: Recipe
    teacher: nn.Module | None = None

    def __post_init__(self) -> None:
        if self.recipe.label_smoothing and self.objective.name != "classification":
            raise NotApplicable(f"label_smoothing is for classification, the data set is for {self.objective.name}")
        if self.recipe.distill and self.objective.name not in TEACHABLE:
            raise NotApplicable(f"distill is for {' or '.join(TEACHABLE)}, the data set is for {self.objective.name}")
        if self.recipe.distill and self.teacher is None:
            raise NotApplicable("distill is for fine-tuning: there is no dense network here to learn from")

    def __call__(self, outputs: Any, inputs: samples.Tree, targets: samples.Tree, mix: Mix | None = None) -> Tensor:
        """The mean over a batch whose inputs gave these outputs."""
        try:
            loss = self._smoothed(outputs, targets)
            if mix is not None:
                other = self._smoothed(outputs, samples.rows(targets, mix.order))
                loss = mix.share * loss + (1 - mix.share) * other
        except InvalidOutput as error:
            raise InvalidOutput(f"{error}, while it trains") from None
        share = self.recipe.distill
        return loss if not share else (1 - share) * loss + share * self._distance(outputs, inputs)

    def _smoothed(self, outputs: Any, targets: samples.Tree) -> Tensor:
        """As if a share of each sample had a label that is drawn evenly from all classes (Szegedy et al., 2016)."""
        loss, share = self.objective.loss(outputs, targets), self.recipe.label_smoothing
        return loss if not share else (1 - share) * loss - share * _logits(outputs).log_softmax(1).mean()

    def _distance(self, outputs: Any, inputs: samples.Tree) -> Tensor:
        """T² KL(teacher‖student) of answers divided by the temperature T (Hinton et al., 2015)."""
        assert self.teacher is not None
        with torch.no_grad():
            wanted = _logits(samples.call(self.teacher, inputs)).flatten(0, -2)
        heat = self.recipe.temperature
        own, wanted = (_logits(outputs).flatten(0, -2) / heat).log_softmax(1), (wanted / heat).log_softmax(1)
        return heat**2 * functional.kl_div(own, wanted, reduction="batchmean", log_target=True)


def _logits(outputs: Any) -> Tensor:
    """(B, …, classes) float32."""
    found = outputs if isinstance(outputs, Tensor) else getattr(outputs, "logits", None)
    if not isinstance(found, Tensor):
        raise NotApplicable(f"label_smoothing and distill need logits, the network answers {type(outputs).__name__}")
    return found.float()
