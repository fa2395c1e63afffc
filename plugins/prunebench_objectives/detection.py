"""Objects in images: trained by boxes matched one to one, scored by the mean average precision of the whole split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench import Objective, Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Detection(Objective):
    """Boxes with a class each, none of them twice (Carion et al., 2020), scored by mean average precision.

    Outputs are `{"boxes": (B, N, 4), "logits": (B, N, classes)}` for N candidates, targets `{"boxes": (B, M, 4),
    "labels": (B, M)}` float and int64, with label -1 where an image has fewer than M objects. Boxes are left, top,
    right and bottom as shares of the image. A precision is of all images together, not of one: there are no pairs.

    A detection is right where it overlaps an object of its class, not yet found by a surer one, by half or more of
    their union. The average precision of a class is the sum of precision times gain of recall over all confidences,
    not interpolated, and their mean is over the classes that have objects.
    """

    name = "detection"
    paper = "https://arxiv.org/abs/2005.12872"
    score = "mean_average_precision"
    title = "mAP at half overlap"
    units = {"mean_average_precision": "fraction", "recall": "fraction"}
    near = (0.01, 0.05)
    paired = "none"

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Cross-entropy of every candidate's classes and distance of the matched boxes, a matched object each."""
        from prunebench_objectives.detection_math import loss

        return loss(outputs, targets)

    def judge(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """The surest detections of each image beside its objects: what they are worth shows over all images only."""
        from prunebench_objectives.detection_math import judged

        return judged(outputs, targets)

    def scores(self, judged: Mapping[str, Tensor]) -> Mapping[str, float]:
        """Mean average precision, and the share of objects that any detection finds."""
        from prunebench_objectives.detection_math import scores

        return scores(judged)

    def floors(self, splits: Splits) -> Mapping[str, float]:
        """Nothing found is worth nothing."""
        return {"no box": 0.0}

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, Any]:
        """Random boxes near random objects."""
        from prunebench_objectives.detection_math import example

        return example(count, generator)
