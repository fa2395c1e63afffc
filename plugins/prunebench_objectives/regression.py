"""Numbers: squared error to train with, the share of explained variance to be scored by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunebench_objectives.delegating import Delegating

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Regression(Delegating):
    """Numbers (B,) or (B, K) float against targets of the same count: trained with squared error, scored by r2.

    r2 is 1 minus the squared error over that of the test targets' own mean, averaged over the K numbers; a constant
    answer scores 0 at best. Two networks are compared on the samples' squared errors.
    """

    name = "regression"
    score = "r2"
    title = "r²"
    units = {"r2": "", "rmse": "target units", "loss": "squared target units"}
    paired = "values"

    @staticmethod
    def mathematics() -> Any:
        """Losses, scores and floors as functions of tensors."""
        from prunebench_objectives import regression_math

        return regression_math

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
