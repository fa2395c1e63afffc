"""Numbers: squared error to train with, the share of explained variance to be scored by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench import Objective, Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Regression(Objective):
    """Numbers (B,) or (B, K) float against targets of the same count: trained with squared error, scored by r2.

    r2 is 1 minus the squared error over that of the test targets' own mean, averaged over the K numbers; a constant
    answer scores 0 at best. Two networks are compared on the samples' squared errors.
    """

    name = "regression"
    score = "r2"
    title = "r²"
    units = {"r2": "", "rmse": "target units", "loss": "squared target units"}
    paired = "values"

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Mean squared error."""
        from prunebench_objectives.regression_math import loss

        return loss(outputs, targets)

    def judge(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """A sample's squared error, mean over its numbers; and what r2 needs."""
        from prunebench_objectives.regression_math import judged

        return judged(outputs, targets)

    def scores(self, judged: Mapping[str, Tensor]) -> Mapping[str, float]:
        """r2, the root of the mean squared error, and the mean itself."""
        from prunebench_objectives.regression_math import scores

        return scores(judged)

    def floors(self, splits: Splits) -> Mapping[str, float]:
        """The training targets' mean as the answer to every test sample."""
        from prunebench_objectives.regression_math import floors

        return floors(splits)

    def spread(self, outputs: Any, generator: torch.Generator) -> Any:
        """A squared error curves alike in every direction."""
        import torch

        noise = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
        return noise.to(outputs.device, outputs.dtype)

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, Any]:
        """Random outputs."""
        import torch

        targets = torch.randn(count, 2, generator=generator)
        return targets + 0.5 * torch.randn(count, 2, generator=generator), targets
