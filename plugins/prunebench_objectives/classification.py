"""One label per sample: cross-entropy to train with, top-1 accuracy to be scored by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench import InvalidOutput, Objective, Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Classification(Objective):
    """Logits (B, classes) against labels (B,) int64: trained with cross-entropy, scored by top-1 accuracy.

    Two networks are compared on the samples that only one of them gets right.
    """

    name = "classification"
    score = "top1_accuracy"
    title = "top-1 accuracy"
    units = {"top1_accuracy": "fraction", "top5_accuracy": "fraction", "loss": "nats"}
    paired = "bits"

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Cross-entropy; raises `InvalidOutput` where the network returned no tensor."""
        from torch import Tensor
        from torch.nn import functional

        if not isinstance(outputs, Tensor):
            raise InvalidOutput(f"the network must return a tensor of logits, got {type(outputs).__name__}")
        return functional.cross_entropy(outputs, targets)

    def judge(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """Whether each label comes first, and among the first five of more; the summed cross-entropy."""
        from prunebench_objectives.classification_math import judged

        return judged(outputs, targets)

    def scores(self, judged: Mapping[str, Tensor]) -> Mapping[str, float]:
        """Fractions of the samples, and the mean cross-entropy."""
        count = len(judged["value"])
        found = {"top1_accuracy": int(judged["value"].sum()) / count, "loss": float(judged["loss"]) / count}
        if "top5" in judged:
            found["top5_accuracy"] = int(judged["top5"].sum()) / count
        return found

    def floors(self, splits: Splits) -> Mapping[str, float]:
        """One in so many classes, and the share of the class that is most frequent in training."""
        from prunebench_objectives.classification_math import floors

        return floors(splits)

    def spread(self, outputs: Any, generator: torch.Generator) -> Any:
        """Second moment diag(p) - p p' of the output probabilities p."""
        from prunebench_objectives.probabilities import spread

        return spread(outputs, generator)

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, Any]:
        """Random outputs."""
        import torch

        outputs = torch.randn(count, 7, generator=generator)
        return outputs, torch.arange(count) % 7
