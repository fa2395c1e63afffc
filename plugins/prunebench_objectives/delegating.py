"""Objectives whose mathematics lies in a module of its own, so that planning does not import torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench import Objective, Splits

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Delegating(Objective):
    """An objective that asks the module `mathematics()` for its loss, judgements, scores and floors."""

    @staticmethod
    @abstractmethod
    def mathematics() -> Any:
        """The module, imported here; it has the functions `loss`, `judged`, `scores` and `floors`."""

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """The module's `loss`: the mean over the batch."""
        found: Tensor = self.mathematics().loss(outputs, targets)
        return found

    def judge(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """The module's `judged`: one entry per sample."""
        found: Mapping[str, Tensor] = self.mathematics().judged(outputs, targets)
        return found

    def scores(self, judged: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The module's `scores`: the numbers of a split."""
        found: Mapping[str, float] = self.mathematics().scores(judged)
        return found

    def floors(self, splits: Splits) -> Mapping[str, float]:
        """The module's `floors`: scores that need no network."""
        found: Mapping[str, float] = self.mathematics().floors(splits)
        return found
